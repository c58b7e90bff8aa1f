"""Parameters in and out of files, completely or not at all."""
