"""The starts that a study's plan chose for its jobs, as the workflow needs them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from greenllm.errors import UserError
from greenllm.scheduling.document import SchedulePlan
from greenllm.scheduling.workflow_jobs import name_of
from greenllm.study import layout
from greenllm.study.models import Config


@dataclass(frozen=True)
class StartTimes:
    """When jobs are to start (Unix time, s), by their names. `fault`: why the plan can't be read, if it can't."""

    by_name: Mapping[str, float] = field(default_factory=dict)
    fault: str | None = None

    @classmethod
    def of_study(cls, config: Config) -> "StartTimes":
        """Return the starts of a study's plan; none without a policy or a plan."""
        path = layout.located(layout.PLAN, Path(config.results))
        if config.policy.objective is None or not path.is_file():
            return cls()
        try:
            return cls(SchedulePlan.read(path).starts)
        except UserError as error:
            return cls(fault=str(error))

    @property
    def to_come(self) -> bool:
        """Whether the plan is still in force: a start is to come."""
        return max(self.by_name.values(), default=0.0) > time.time()

    def of_job(self, rule: str, wildcards: Mapping[str, str]) -> float | None:
        """Return when a job is to start (Unix time, s); None: at once."""
        return self.by_name.get(name_of(rule, wildcards))
