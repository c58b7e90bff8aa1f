"""What a network is and what it is to be given, without any framework."""
