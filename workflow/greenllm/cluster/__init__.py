"""Cluster schedulers: the one place that knows them by name. What a job was assigned, and what a cluster has.

`assignment` imports nothing more than the standard library: the meter starts with every job.
"""
