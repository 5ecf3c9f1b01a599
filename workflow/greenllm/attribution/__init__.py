"""From ledgers to joules per job: every joule that a sensor counted goes to one job, to other processes, or to idle.

attribute(ledger_dir) -> Attribution      reads the ledgers of all attempts
attribute_attempts(attempts) -> Attribution   the same as a pure function
"""

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.from_ledgers import attribute, attribute_attempts
from greenllm.attribution.jobs import JobEnergy
from greenllm.attribution.reading import read_attempts
from greenllm.attribution.result import Attribution
from greenllm.estimate import Estimate, Interval, Parameter, ratio, total
from greenllm.ledger.energy_log import Component

__all__ = [
    "Attempt",
    "Attribution",
    "Component",
    "Estimate",
    "Interval",
    "JobEnergy",
    "Parameter",
    "attribute",
    "attribute_attempts",
    "ratio",
    "read_attempts",
    "total",
]
