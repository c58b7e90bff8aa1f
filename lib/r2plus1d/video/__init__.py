"""One video in, its clips out."""
