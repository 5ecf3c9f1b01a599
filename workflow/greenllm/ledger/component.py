"""One device's part in a job's energy, as energy log and attribution write it."""

from dataclasses import dataclass
from typing import Any

from greenllm.estimate import Estimate

# What a job's energy is the sum of; the platform contains them and stands apart.
SUMMED = ("gpu", "cpu", "dram")


@dataclass(frozen=True)
class Component:
    """A device's part in a job's energy; `energy` is None with a `reason` where it could not be read.

    `used`: whether something computed on a GPU while the job held it; None where that is unknown.
    """

    component: str
    host: str
    device: str
    energy: Estimate | None
    reason: str | None
    method: str
    quality: str
    share: float | None
    coverage: float
    used: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the component as energy log and attribution write it."""
        return {
            "component": self.component,
            "host": self.host,
            "device": self.device,
            "energy_J": None if self.energy is None else self.energy.to_json(),
            "reason": self.reason,
            "method": self.method,
            "quality": self.quality,
            "share": self.share,
            "coverage": self.coverage,
            **({"used": self.used} if self.component == "gpu" else {}),
            "terms": []
            if self.energy is None
            else [{"parameter": name, "coefficient": c} for name, c in self.energy.terms.items()],
        }
