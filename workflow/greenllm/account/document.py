"""account.json: every number of a study's tables and report. These types are its format."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from greenllm.attribution.result import HostTotals
from greenllm.comparison.rows import Advice, ComparedRecipes, ModelRow
from greenllm.documents.card import DataCard
from greenllm.documents.document import Number, validated
from greenllm.documents.preparation import PreparationReport
from greenllm.errors import UserError
from greenllm.estimate import Interval, Parameter
from greenllm.files import read_json
from greenllm.footprint.carbon import GridFactor
from greenllm.footprint.rows import AccountPart, HostPower, ImpactRow, StudySpent

SCHEMA: Literal["greenllm/account/3"] = "greenllm/account/3"
REMEDY = "run `greenllm account` again"


class LedgerFile(AccountPart):
    """A ledger that the account is computed from; `id` is its attempt's."""

    id: str
    path: str
    bytes: int
    sha256: str


class ExperimentAccount(AccountPart):
    """An experiment: its task and data, its recipes side by side, and which one to deploy."""

    task: str
    metrics: dict[str, str]
    primary: str
    higher_is_better: bool
    card: DataCard | None
    preparation: PreparationReport | None
    comparison: ComparedRecipes
    recommendation: Advice


class JobComponent(AccountPart):
    """A device's part in an attempt's energy; `reason` says why it is unknown."""

    component: str
    device: str
    method: str
    quality: str
    energy_J: Interval | None
    reason: str | None
    used: bool | None = None  # of a GPU: whether something computed on it

    @model_serializer(mode="wrap")
    def _of_its_kind(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        if self.component != "gpu":
            del written["used"]
        return written


class JobRow(AccountPart):
    """One attempt at a job: its energy, and whether its result is in use (`standing`)."""

    id: str
    parent: str | None
    run_id: str
    host: str
    rule: str
    experiment: str | None
    recipe: str | None
    seed: int | None
    number: int
    status: str
    standing: str
    started: str
    ended: str | None
    energy_J: Interval | None
    components: list[JobComponent]
    quality: str | None
    unknown: list[str]
    unused: list[str]
    work: dict[str, Number | None]


class EfficiencyRow(AccountPart):
    """A row of the table `efficiency`: E = C/R of one stage, or of a server while it was measured."""

    experiment: str
    recipe: str | None
    seed: int | None
    stage: str
    scope: str
    energy_J: Interval | None
    work_sample: Number | None
    J_per_sample: Interval | None
    work_token: Number | None
    J_per_token: Interval | None
    work_request: Number | None
    J_per_request: Interval | None
    work_1e8_flops: Number | None
    J_per_1e8_flops: Interval | None
    method: str
    quality: str | None
    unknown: str | None


class MethodRow(AccountPart):
    """How a device's energy was found, and how much of the study's energy (J) it is."""

    host: str
    component: str
    device: str | None
    method: str
    quality: str
    energy_J: Number | None
    attempts: int
    parameters: list[str]
    reason: str | None


class Missing(AccountPart):
    """A result that the configuration asks for and that is not there."""

    experiment: str
    recipe: str
    seed: int
    stage: str
    reason: str


class UnusedGpu(AccountPart):
    """A GPU that an attempt held and never used, with the energy that it used meanwhile."""

    id: str
    experiment: str | None
    recipe: str | None
    seed: int | None
    host: str
    status: str
    stage: str
    gpu: str
    energy_J: Interval | None


class Account(AccountPart):
    """The account of a study. Energies are in J, carbon in g CO2e, times RFC 3339; None is unknown."""

    schema_: Literal["greenllm/account/3"] = Field(SCHEMA, alias="schema")
    until: str | None
    config: dict[str, Any]  # the configuration, as it was given
    policy: str
    parameters: dict[str, Parameter]
    hosts: list[HostTotals]
    ledgers: list[LedgerFile]
    troubles: list[str]
    packages: dict[str, str]
    grid: GridFactor | None
    grid_reason: str | None
    pue: Number | None
    experiments: dict[str, ExperimentAccount]
    models: list[ModelRow]
    spent: StudySpent
    jobs: list[JobRow]
    efficiency: list[EfficiencyRow]
    impact: list[ImpactRow]
    methods: list[MethodRow]
    power: list[HostPower]
    missing: list[Missing]
    unused: list[UnusedGpu] = Field(default_factory=list)

    @cached_property
    def jobs_by_id(self) -> dict[str, JobRow]:
        """All attempts by id."""
        return {job.id: job for job in self.jobs}

    @cached_property
    def _jobs_by_stage(self) -> dict[tuple[str, str | None, str | None, int | None], list[JobRow]]:
        found: dict[tuple[str, str | None, str | None, int | None], list[JobRow]] = {}
        for job in self.jobs:
            found.setdefault((job.rule, job.experiment, job.recipe, job.seed), []).append(job)
        return found

    def jobs_of(self, rule: str, experiment: str, recipe: str | None, seed: int) -> list[JobRow]:
        """Return the attempts at one stage for a model: those that serve all seeds, then those of its seed."""
        return [job for one in (None, seed) for job in self._jobs_by_stage.get((rule, experiment, recipe, one), ())]

    @classmethod
    def read(cls, path: Path, remedy: str = REMEDY) -> "Account":
        """Read an account.json. Raises UserError if it is missing (with `remedy`) or is not one."""
        found = read_json(path, remedy)
        if found.get("schema") != SCHEMA:
            raise UserError(f"{path}: expected schema {SCHEMA!r}; {REMEDY}")
        return validated(cls, found, path, REMEDY)

    def to_json(self) -> dict[str, Any]:
        """Return the account as the JSON object of account.json."""
        return self.model_dump(by_alias=True)
