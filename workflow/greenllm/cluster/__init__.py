"""Cluster schedulers, the one place that knows them by name: assignments, clusters, submissions.

`assignment` imports nothing more than the standard library: the meter starts with every job.
"""
