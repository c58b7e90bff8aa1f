"""Streams of samples: records with their clips."""
