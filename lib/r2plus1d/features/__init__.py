"""Blobs of every clip, on disk."""
