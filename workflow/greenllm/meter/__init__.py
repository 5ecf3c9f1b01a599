"""The meter around a command: sensors, process tree, leases, ledger and energy log.

Nothing here imports more than the standard library (and pynvml where there is an NVIDIA driver): the meter starts
with every job.
"""
