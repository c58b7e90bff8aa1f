"""Files of results, progress, and names of classes."""
