"""The rows of an account about recipes and models, typed; names and order are those of account.json."""

from typing import Literal

from pydantic import Field

from greenllm.documents.document import Number
from greenllm.documents.evaluation import HandedOver, ModelQuality
from greenllm.documents.measurement import AgreementCounts, MeasuredLoad, ThreadChoice
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


def better_than_chance(quality: Quality | None, chance: float | None, *, higher: bool) -> bool:
    """Whether the 95 % interval of a quality excludes that of a model that ignores its input, where that is known.

    `higher`: whether higher is better. False where the quality is unknown.
    """
    if quality is None or chance is None:
        return quality is not None
    return quality.low > chance if higher else quality.high < chance


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
    """What the spread in an interval of energy includes; `over` is None if it was measured once."""

    over: Literal["seeds", "starts", "rounds"] | None
    count: int
    relative_error: Number | None
    pooled: bool
    note: str


class TokenRange(AccountPart):
    """The shortest and the longest mean length of a measured round, in tokens for each request."""

    low: Number
    high: Number


class TokenEnergy(AccountPart):
    """What a request, an input token and an output token take of a recipe's server, by regression over its rounds.

    `coefficients_J` belong to the `columns` of work ("requests", "prompt": input tokens that were not cached, "cached",
    "generated": output tokens). `covariance_J2` and `freedom` are those of the spread between starts, `sensors` are the
    sensors' 95 % bounds, relative to the value. Beyond `prompt_tokens` and `generated_tokens` for
    each request, the measured lengths, it is an extrapolation.
    """

    request_J: Interval
    prompt_token_J: Interval
    cached_prompt_token_J: Interval | None
    generated_token_J: Interval
    columns: list[str]
    coefficients_J: list[Number]
    covariance_J2: list[list[Number]]
    freedom: int
    sensors: tuple[Number, Number]
    prompt_tokens: TokenRange
    generated_tokens: TokenRange


class CurvePoint(AccountPart):
    """A recipe's energy and speed at one concurrency (requests in flight)."""

    concurrency: Number | None
    energy_per_request_J: Interval | None
    energy_per_token_J: Interval | None
    requests_per_s: Number | None
    latency_p50_s: Number | None


class Factor(AccountPart):
    """The part that one change has in a ratio of energies: `before` and `after` are the recipes that it separates.

    `change` is "engine", "device", or the name of what else changes, such as "int8".
    """

    change: str
    before: str
    after: str
    times_less: Interval | None
    verdict: Verdict


class Twin(AccountPart):
    """The baseline's energy per request divided by that of the same model, deployed a second time.

    `steady`: the 99 % interval includes 1, or is unknown. `resolvable` is the smallest difference, as a share, that can
    be resolved on this host; None if the spread between starts is unknown, as with a single round. `reason` says why
    the ratio is unknown.
    """

    name: str
    times_less: Interval | None
    times_less_99: Interval | None
    steady: bool
    resolvable: Number | None
    reason: str | None = None


class RecipeRow(AccountPart):
    """What is known of one recipe of an experiment: the mean over its seeds.

    `is_control`: it separates one change, such as the engine alone, from what another recipe changes as well. `parts`
    are the factors of `times_less`, by cause.
    """

    recipe: str
    is_baseline: bool
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
    curve: list[CurvePoint]
    idle_power_W: Interval | None
    accelerator_Wh_per_1000_requests: Interval | None
    latency_p50_s: Number | None
    latency_p95_s: Number | None
    requests_per_s: Number | None
    cost_to_produce_J: Interval | None
    placed_apart: list[str] = Field(default_factory=list)  # where a plan put its and the baseline's jobs, if elsewhere
    total_energy_per_request_J: Interval | None
    break_even_requests: BreakEven | None
    reason: str | None
    qualifies: Qualifies
    on_front: bool
    is_control: bool = False
    parts: list[Factor] = Field(default_factory=list)
    verdict_as_measured: Verdict | None = None  # before the twin withholds it
    threads: ThreadChoice | None = None
    token_energy: TokenEnergy | None = None
    token_energy_reason: str | None = None  # why it is unknown


class Advice(AccountPart):
    """The recipe of an experiment to deploy, or why there is none; ratios and differences are that recipe's.

    `at_chance`: why nothing can be compared, where no recipe is shown to be better than a model that ignores the input.
    """

    recipe: str | None
    baseline: str
    reason: str | None
    undecidable: bool = False
    at_chance: str | None = None
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

    `twin` is the control of the comparison, None where it is turned off. `starts`: how often each server was started
    with each seed; `rounds`: how many rounds it had after a start. `steady`: whether verdicts hold, since the same
    model did not differ from itself. `chance`: the primary metric of a model that ignores its input, None where nothing
    was predicted.
    """

    baseline: str
    seeds: list[int]
    recipes: list[RecipeRow]
    twin: Twin | None = None
    starts: int | None = None
    rounds: int | None = None
    steady: bool = True
    chance: Number | None = None


class _ServerEnergy(AccountPart):
    energy_J: Interval | None
    energy_per_request_J: Interval | None
    energy_per_token_J: Interval | None
    rounds: int
    duration_s: Number


class ServedPoint(MeasuredLoad, _ServerEnergy):
    """The load measurement at one concurrency, with the server's energy."""


class ServedModel(ServedPoint):
    """What the load measurement of one deployment found: at the compared concurrency, and at each (`points`).

    The terms are {parameter: coefficient} of the energy per request (J), of its part in GPUs, and of the idle power
    (W); what readings left open is one term (`greenllm.estimate.merged_terms`). `attempt` is the id of the server's
    attempt, `threads` and `gpus` are what it held.
    """

    points: list[ServedPoint]
    reason: str | None
    method: str | None
    quality: str | None
    idle_power_W: Interval | None
    request_terms: dict[str, Number] | None
    accelerator_terms: dict[str, Number] | None
    idle_terms: dict[str, Number] | None
    attempt: str | None
    threads: int
    gpus: int
    agreement: AgreementCounts | None
    memory_bytes: int | None
    memory_reason: str | None


class ProducingStep(AccountPart):
    """A step in a model's making, with the attempts (`ids`) that it took.

    `device` is the device that a plan chose for it: `cpu` or a GPU's model; None: none did.
    """

    rule: str
    recipe: str | None
    ids: list[str]
    energy_J: Interval | None
    device: str | None = None


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
