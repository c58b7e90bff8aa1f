"""A source through an engine."""
