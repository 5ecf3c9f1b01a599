"""A study: its configuration, its jobs, and where its results are."""
