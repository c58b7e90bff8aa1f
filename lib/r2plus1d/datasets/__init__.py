"""Lists and databases of videos on disk."""
