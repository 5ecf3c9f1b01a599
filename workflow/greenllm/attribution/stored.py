"""attribution.json, read again as typed objects: what is computed from it needs no ledger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from greenllm.attribution.result import SCHEMA
from greenllm.documents.document import validated
from greenllm.errors import UserError
from greenllm.estimate import Estimate, Parameter, total_known
from greenllm.files import read_json
from greenllm.ledger.energy_log import SUMMED

REMEDY = "run `greenllm account` again"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class StoredTerm(_Stored):
    """A term of an energy: coefficient times parameter."""

    parameter: str
    coefficient: float


class StoredComponent(_Stored):
    """A device's part in a job's energy; None where it is unknown, for a `reason`."""

    component: str
    device: str
    reason: str | None
    energy_J: dict[str, float] | None
    terms: list[StoredTerm]


class StoredGpu(_Stored):
    """A GPU that a job held, with its model as NVML names it; older ledgers don't say."""

    uuid: str
    name: str | None = None


class StoredJob(_Stored):
    """One attempt: what it reserved, for how long, and its energy by component."""

    id: str
    parent: str | None
    host: str
    boot_id: str
    started: str | None
    ended: str | None
    duration_s: float | None
    threads: int | None
    reserved_cpus: float | None
    reserved_memory_B: float | None
    gpus: list[StoredGpu]
    components: list[StoredComponent]

    def energy(self, parameters: Mapping[str, Parameter], components: tuple[str, ...] = SUMMED) -> Estimate | None:
        """Return its energy (J) in some components; None where none of them is known."""
        return total_known(
            Estimate({term.parameter: term.coefficient for term in part.terms}, parameters)
            for part in self.components
            if part.component in components and part.energy_J is not None
        )


class StoredDevice(_Stored):
    """A device of a host, with the energy that belongs to nobody: its unallocated idle part."""

    component: str
    device: str
    idle_terms: dict[str, float]


class StoredHost(_Stored):
    """One boot of one host."""

    host: str
    boot_id: str
    cpus: int
    memory_B: float | None
    devices: list[StoredDevice]

    def idle(self, parameters: Mapping[str, Parameter]) -> Estimate:
        """Return the energy (J) that belongs to nobody."""
        found = (Estimate(one.idle_terms, parameters) for one in self.devices if one.component in SUMMED)
        return total_known(found) or Estimate()


class StoredAttribution(_Stored):
    """What `greenllm account` wrote as attribution.json."""

    hosts: list[StoredHost]
    jobs: list[StoredJob]
    parameters: dict[str, Parameter]

    @property
    def gpus(self) -> list[str]:
        """The models of the GPUs that jobs held, as NVML names them."""
        return sorted({gpu.name for job in self.jobs for gpu in job.gpus if gpu.name is not None})

    @classmethod
    def read(cls, path: Path, remedy: str = REMEDY) -> "StoredAttribution":
        """Read the file. Raises UserError, with `remedy`, if it is missing or is none of this schema."""
        found: dict[str, Any] = read_json(path, remedy)
        if found.get("schema") != SCHEMA:
            raise UserError(f"{path}: schema {found.get('schema')!r}, expected {SCHEMA!r}; {remedy}")
        return validated(cls, found, path, remedy)
