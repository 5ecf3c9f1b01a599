"""Recipes compared: quality, energy per request, their intervals, and which recipe to deploy."""
