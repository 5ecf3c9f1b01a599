"""One model of a study: what is known of its quality, its serving and its cost to produce."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenllm.comparison.production_cost import ProductionCost, production_cost
from greenllm.comparison.quantity import Quantity
from greenllm.comparison.rows import (
    CostToProduce,
    ModelQuality,
    ModelRow,
    ServedModel,
    ServedPoint,
    TrainingFacts,
)
from greenllm.comparison.served import PointEnergy, Serving, serving_of
from greenllm.comparison.spread import Repeated
from greenllm.estimate import Interval, interval_of
from greenllm.footprint.carbon import GridFactor
from greenllm.footprint.impact import impact_of
from greenllm.footprint.standing import JobAttempt
from greenllm.study.chain import ChainJob
from greenllm.study.results import Key, Study

if TYPE_CHECKING:
    from greenllm.attribution import Attribution


@dataclass(frozen=True)
class ModelFacts:
    """What is known of one model; None is what its stage has not written (yet).

    `manifest`, `evaluation` and `trained` are the documents of its stages, `training` is the attempt that trained it.
    """

    experiment: str
    recipe: str
    seed: int
    chain: list[str]
    manifest: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None
    trained: Mapping[str, Any] | None
    serving: Serving | None
    training: JobAttempt | None
    cost: ProductionCost

    @property
    def engine(self) -> str | None:
        """The engine that runs it."""
        return self._described.get("engine")

    @property
    def precision(self) -> str | None:
        """The format of its weights."""
        return self._described.get("precision")

    @property
    def parameters(self) -> int | None:
        """The number of its weights."""
        return (self.manifest or {}).get("parameters")

    @property
    def flops_per_token(self) -> float | None:
        """The floating-point operations that it takes for each token."""
        return ((self.manifest or {}).get("forward_flops") or {}).get("per_token")

    @property
    def model_bytes(self) -> int | None:
        """The size of its folder."""
        return None if self.serving is None else self.serving.measurement.get("model_bytes")

    @property
    def _described(self) -> Mapping[str, Any]:
        return self.evaluation or (self.serving and self.serving.measurement) or self.manifest or {}

    @property
    def quality(self) -> ModelQuality | None:
        """Its quality on the test split; None where it was not evaluated."""
        if (found := self.evaluation) is None:
            return None
        return ModelQuality(
            primary=found["primary"],
            metrics=found["metrics"],
            examples=found["examples"],
            bootstrap=found["bootstrap"],
            finish=found.get("finish"),
            subsets=found.get("subsets") or {},
            hand_over=found.get("hand_over"),
        )

    def row(self, factor: GridFactor | None, pue: float | None) -> ModelRow:
        """Return the model as the account has it."""
        trained = self.trained
        return ModelRow.of(
            self,
            training=None
            if trained is None
            else TrainingFacts.model_validate({name: trained.get(name) for name in TrainingFacts.model_fields}),
            serving=None if self.serving is None else _served(self.serving),
            cost_to_produce=CostToProduce.of(self.cost, **dict(impact_of(self.cost.energy, factor, pue))),
        )


def model_of(
    key: Key,
    study: Study,
    found: Sequence[JobAttempt],
    current: Mapping[ChainJob, JobAttempt],
    attribution: "Attribution",
) -> ModelFacts:
    """Return what is known of one model; `current` has the attempt whose result is in use for each job."""
    experiment, recipe, seed = key
    serving = None
    if (measurement := study.measurements.get(key)) is not None:
        serving = serving_of(measurement, {attempt.id: attempt for attempt in found}, attribution)
    return ModelFacts(
        experiment=experiment,
        recipe=recipe,
        seed=seed,
        chain=study.plan.lineage(recipe),
        manifest=study.models.get(key),
        evaluation=study.evaluations.get(key),
        trained=study.trainings.get(key),
        serving=serving,
        training=current.get(ChainJob("train", experiment, recipe, seed)),
        cost=production_cost(key, study, found, current),
    )


def _served(found: Serving) -> ServedModel:
    """Return what the load measurement found: at the concurrency that is compared, and in `points` at each."""
    points = [_point(point) for point in found.points]
    return ServedModel(
        **dict(points[0]),
        points=points,
        reason=found.reason,
        method=found.server and found.server.method,
        quality=found.server and found.server.quality,
        idle_power_W=interval_of(found.idle_power),
        agreement=found.measurement.get("agreement"),
        memory_bytes=found.measurement.get("memory_bytes"),
        memory_reason=found.measurement.get("memory_reason"),
    )


def _point(point: PointEnergy) -> ServedPoint:
    names = (
        "requests", "answered", "failed", "concurrency", "rate_per_s", "latency_s", "time_to_first_token_s",
        "throughput", "prompt_tokens", "completion_tokens", "stopped",
    )  # fmt: skip
    return ServedPoint(
        energy_J=interval_of(point.energy),
        energy_per_request_J=over_rounds(point.per_request),
        energy_per_token_J=over_rounds(point.per_token),
        rounds=len(point.written["rounds"]),
        duration_s=point.duration_s,
        **{name: point.written.get(name) for name in names},
    )


def over_rounds(quantity: Repeated | None) -> Interval | None:
    """Return one deployment's quantity with the sensors' error and the spread between its rounds."""
    return None if quantity is None else Quantity({"": {0: quantity}}).mean("")
