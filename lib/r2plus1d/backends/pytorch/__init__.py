"""PyTorch 2: CPUs and today's GPUs."""
