"""What a meter writes and attribution reads."""
