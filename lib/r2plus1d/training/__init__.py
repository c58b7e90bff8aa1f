"""Training, without any framework."""
