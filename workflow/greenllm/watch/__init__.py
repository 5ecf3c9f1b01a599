"""A running workflow, seen from any machine that sees its results folder: ledgers and run files, while they grow."""
