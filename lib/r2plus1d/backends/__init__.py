"""What runs or trains a network; each framework is imported in its own folder only."""
