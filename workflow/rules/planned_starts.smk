# Planned starts (`greenllm plan`) on a cluster: each job is submitted with its start, and waits in the scheduler's queue.
# The last file, since it changes the rules of all others: their jobs ask for the start beside what the profile asks for.

from functools import partial

from greenllm.cluster.submission import START_OPTIONS, with_start


def start_as_planned(changed):
    """Have each job of a rule submitted with its planned start."""
    for resource, option in START_OPTIONS.items():
        of_profile = changed.resources.get(resource).evaluate
        changed.resources[resource] = with_start(of_profile, partial(STARTS.of_job, changed.name), option)


if SUBMITS and STARTS.to_come:
    for changed in workflow.rules:
        start_as_planned(changed)
