"""What a stage writes for other stages and for the account: one type for each JSON file."""
