"""Models side by side: quality, energy per request, their intervals, and what to deploy."""
