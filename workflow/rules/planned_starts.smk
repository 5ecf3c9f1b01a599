# Planned starts (`greenllm plan`) on a cluster: each job is submitted with its start, and waits in the scheduler's queue.
# The last file, since it changes the rules of all others: their jobs ask for the start beside what the profile asks for.

from functools import partial

from greenllm.cluster.submission import START_OPTIONS, with_start
from greenllm.scheduling.document import SchedulePlan
from greenllm.scheduling.workflow_jobs import name_of


def planned_starts():
    """Return when jobs that are submitted to a cluster are to start (Unix time, s), by their names."""
    path = layout.located(layout.PLAN, STUDY.results)
    if not SUBMITS or STUDY.policy.objective is None or not path.is_file():
        return {}
    try:
        return SchedulePlan.read(path).starts
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def start_as_planned(changed):
    """Have each job of a rule submitted with its planned start."""
    for resource, option in START_OPTIONS.items():
        of_profile = changed.resources.get(resource).evaluate
        changed.resources[resource] = with_start(of_profile, partial(planned_start, changed.name), option)


def planned_start(name, wildcards):
    """Return when a rule's job is to start (Unix time, s); None: at once."""
    return PLANNED_STARTS.get(name_of(name, wildcards))


PLANNED_STARTS = planned_starts()
if PLANNED_STARTS:
    for changed in workflow.rules:
        start_as_planned(changed)
