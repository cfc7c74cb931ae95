"""What was asked for, paid and made, on the disk before anything depends on it."""
