"""The rows of an account about recipes and models, typed; names and order are those of account.json."""

from typing import Literal

from greenllm.documents.document import Number
from greenllm.documents.evaluation import HandedOver, ModelQuality
from greenllm.documents.measurement import AgreementCounts, MeasuredLoad, PlannedBlocks, ThreadChoice
from greenllm.documents.training import TrainingFacts
from greenllm.estimate import Interval
from greenllm.footprint.rows import AccountPart, Impact

Verdict = Literal["baseline", "saves", "loss", "not resolvable", "unknown"]
Qualifies = Literal["yes", "no", "not resolvable"]
BreakEven = Interval | Literal["never"]  # requests


class Quality(AccountPart):
    """A recipe's primary metric, the mean over seeds, with its 95 % interval."""

    metric: str
    value: Number
    low: Number
    high: Number
    examples: Number


class Difference(AccountPart):
    """A recipe's primary metric minus the baseline's, with its 95 % interval; `resolved`: 0 is outside it."""

    value: Number
    low: Number
    high: Number
    metric: str
    method: str
    resolved: bool
    p_value: Number | None
    test: str


class EnergySpread(AccountPart):
    """What the spread in an interval of energy includes; `over` is None if it was measured once.

    The rounds that are counted are those of different blocks.
    """

    over: Literal["seeds", "rounds"] | None
    count: int
    relative_error: Number | None
    pooled: bool
    note: str


class CurvePoint(AccountPart):
    """A recipe's energy and speed at one concurrency (requests in flight)."""

    concurrency: Number | None
    energy_per_request_J: Interval | None
    energy_per_token_J: Interval | None
    requests_per_s: Number | None
    latency_p50_s: Number | None
    times_less: Interval | None = None


class Factor(AccountPart):
    """The part that one change has in a recipe's ratio to the baseline: from recipe `before` to recipe `after`.

    `change` says what differs, such as "engine" or "int8". The parts of a recipe multiply to its `times_less`, except
    for blocks or seeds that not all recipes on the way have.
    """

    change: str
    before: str
    after: str
    times_less: Interval | None
    verdict: Verdict


class Twin(AccountPart):
    """The baseline against its second server, which is the same model: how far equal servers differ on this host.

    `times_less` has the 95 % interval, `at_99` the 99 % interval. The host was `steady` if the latter includes 1.
    Differences below the share `resolvable` can't be resolved. `reason` is advice where the host was not steady, or says
    why nothing is known.
    """

    name: str
    times_less: Interval | None
    at_99: Interval | None
    steady: bool | None
    resolvable: Number | None
    reason: str | None


class BlocksOfSeed(AccountPart):
    """How one seed's servers were measured side by side: which were loaded, and the blocks at each concurrency."""

    seed: int
    loaded: Literal["all", "one"]
    loaded_reason: str
    blocks: list[PlannedBlocks]


class RecipeRow(AccountPart):
    """What is known of one recipe of an experiment: the mean over its seeds.

    `is_control`: the study added it, to tell the effect of an engine or device from that of a method. `threads` is the
    number that the server of the first seed used, and `thread_choice` says why. `verdict` is what the study reports, and
    `raw_verdict` what the interval alone would say; they differ where the host was not steady, and `verdict_reason` says
    so. `failure`: why a server was measured only in part, or not at all.
    """

    recipe: str
    is_baseline: bool
    is_control: bool
    seeds_measured: list[int]
    engine: str | None
    precision: str | None
    parameters: Number | None
    model_bytes: Number | None
    memory_bytes: Number | None
    memory_reason: str | None
    flops_per_token: Number | None
    quality: Quality | None
    quality_difference: Difference | None
    subsets: dict[str, dict[str, Interval | Number]]  # kind of example → metric → value; `examples` → their number
    hand_over: HandedOver | None
    energy_per_request_J: Interval | None
    energy_per_token_J: Interval | None
    energy_quality: str | None
    energy_spread: EnergySpread | None
    times_less: Interval | None
    verdict: Verdict
    raw_verdict: Verdict
    verdict_reason: str | None
    parts: list[Factor]
    threads: int | None
    thread_choice: ThreadChoice | None
    curve: list[CurvePoint]
    idle_power_W: Interval | None
    accelerator_Wh_per_1000_requests: Interval | None
    latency_p50_s: Number | None
    latency_p95_s: Number | None
    requests_per_s: Number | None
    cost_to_produce_J: Interval | None
    total_energy_per_request_J: Interval | None
    break_even_requests: BreakEven | None
    reason: str | None
    failure: str | None
    qualifies: Qualifies
    on_front: bool


class Advice(AccountPart):
    """The recipe of an experiment to deploy, or why there is none; ratios and differences are that recipe's."""

    recipe: str | None
    baseline: str
    reason: str | None
    undecidable: bool = False
    requests: Number
    confidence: Number
    quality_bound: Number | None
    times_less: Interval | None
    total_times_less: Interval | None
    quality_difference: Difference | None
    break_even_requests: BreakEven | None
    front: list[str]
    losses: list[str]


class ComparedRecipes(AccountPart):
    """An experiment's recipes against its baseline.

    `twin` is None where the baseline was served once. `steady` is None where it is unknown. `nothing_to_compare` says why
    a comparison means nothing: no recipe answers anything right.
    """

    baseline: str
    seeds: list[int]
    twin: Twin | None
    steady: bool | None
    blocks: list[BlocksOfSeed]
    nothing_to_compare: str | None
    recipes: list[RecipeRow]


class _ServerEnergy(AccountPart):
    energy_J: Interval | None
    energy_per_request_J: Interval | None
    energy_per_token_J: Interval | None
    rounds: int
    duration_s: Number


class ServedPoint(MeasuredLoad, _ServerEnergy):
    """The load measurement at one concurrency, with the server's energy."""


class ServedModel(ServedPoint):
    """What the load measurement of one deployment found: at the compared concurrency, and at each (`points`)."""

    points: list[ServedPoint]
    threads: ThreadChoice
    reason: str | None
    failure: str | None
    method: str | None
    quality: str | None
    idle_power_W: Interval | None
    agreement: AgreementCounts | None
    memory_bytes: int | None
    memory_reason: str | None


class ProducingStep(AccountPart):
    """A step in a model's making, with the attempts (`ids`) that it took."""

    rule: str
    recipe: str | None
    ids: list[str]
    energy_J: Interval | None


class CostToProduce(Impact):
    """What a model and its ancestors cost, each job once; `missing` says what is not counted, and why."""

    steps: list[ProducingStep]
    missing: list[str]


class ModelRow(AccountPart):
    """What is known of one model: of an experiment, a recipe and a seed."""

    experiment: str
    recipe: str
    seed: int
    chain: list[str]
    engine: str | None
    precision: str | None
    parameters: int | None
    flops_per_token: Number | None
    model_bytes: int | None
    quality: ModelQuality | None
    training: TrainingFacts | None
    serving: ServedModel | None
    cost_to_produce: CostToProduce
