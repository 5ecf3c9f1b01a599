"""Training variants and compression: one file each."""
