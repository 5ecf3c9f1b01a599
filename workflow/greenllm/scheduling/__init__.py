"""When to run: jobs and a signal over time to a schedule, and what it saved afterwards."""
