"""The command line: flags, and what they ask for."""
