"""One model of a study: what is known of its quality, its serving and its cost to produce."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenllm.comparison.production_cost import ProductionCost, production_cost
from greenllm.comparison.quantity import Quantity
from greenllm.comparison.rows import CostToProduce, ModelRow, ServedModel, ServedPoint
from greenllm.comparison.served import PointEnergy, Serving, serving_of
from greenllm.comparison.spread import Repeated
from greenllm.documents.evaluation import EvaluationReport
from greenllm.documents.measurement import ServerMeasurement
from greenllm.documents.training import TrainingReport
from greenllm.estimate import Interval, interval_of, merged_terms
from greenllm.footprint.carbon import GridFactor
from greenllm.footprint.impact import impact_of
from greenllm.footprint.standing import JobAttempt, current_of
from greenllm.model_folder.manifest import Manifest
from greenllm.study.chain import ChainJob
from greenllm.study.results import Key, Study

if TYPE_CHECKING:
    from greenllm.attribution import Attribution


@dataclass(frozen=True)
class ModelFacts:
    """What is known of one model; a field is None if its stage has not written it (yet).

    `quality` and `trained` are the reports of its evaluation and training; `training` is the attempt that trained it.
    """

    experiment: str
    recipe: str
    seed: int
    chain: list[str]
    manifest: Manifest | None
    quality: EvaluationReport | None
    trained: TrainingReport | None
    serving: Serving | None
    training: JobAttempt | None
    cost: ProductionCost

    @property
    def engine(self) -> str | None:
        """The engine that runs it."""
        return None if self._described is None else self._described.engine

    @property
    def precision(self) -> str | None:
        """The format of its weights."""
        return None if self._described is None else self._described.precision

    @property
    def _described(self) -> EvaluationReport | ServerMeasurement | Manifest | None:
        return self.quality or (self.serving and self.serving.measurement) or self.manifest

    @property
    def parameters(self) -> int | None:
        """The number of its weights."""
        return None if self.manifest is None else self.manifest.parameters

    @property
    def flops_per_token(self) -> float | None:
        """The floating-point operations that it takes for each token."""
        flops = None if self.manifest is None else self.manifest.forward_flops
        return None if flops is None else flops.per_token

    @property
    def model_bytes(self) -> int | None:
        """The size of its folder."""
        return None if self.serving is None else self.serving.measurement.model_bytes

    def row(self, factor: GridFactor | None, pue: float | None) -> ModelRow:
        """Return the model as the account has it."""
        return ModelRow.of(
            self,
            training=self.trained,
            serving=self.serving and _served(self.serving),
            cost_to_produce=CostToProduce.of(self.cost, **dict(impact_of(self.cost.energy, factor, pue))),
        )


def model_of(
    key: Key,
    study: Study,
    found: Mapping[str, JobAttempt],
    tried: Mapping[ChainJob, Sequence[JobAttempt]],
    attribution: "Attribution",
) -> ModelFacts:
    """Return what is known of one model; `found` has all attempts by id, `tried` by job."""
    experiment, recipe, seed = key
    serving, whole = None, study.side_by_side.get((experiment, seed))
    if whole is not None and (measurement := whole.server(recipe)) is not None:
        serving = serving_of(measurement, whole, found, attribution)
    return ModelFacts(
        experiment=experiment,
        recipe=recipe,
        seed=seed,
        chain=study.plan.lineage(recipe),
        manifest=study.manifests.get(key),
        quality=study.evaluations.get(key),
        trained=study.trainings.get(key),
        serving=serving,
        training=current_of(tried.get(ChainJob("train", experiment, recipe, seed), ())),
        cost=production_cost(key, study, tried),
    )


def twins_of(
    study: Study, found: Mapping[str, JobAttempt], attribution: "Attribution"
) -> dict[tuple[str, int], Serving]:
    """Return the baseline's second server of each experiment and seed that has one; `found` has all attempts by id."""
    twins = {}
    for key, whole in study.side_by_side.items():
        measurement = None if whole.twin is None else whole.server(whole.twin)
        if measurement is not None and (serving := serving_of(measurement, whole, found, attribution)) is not None:
            twins[key] = serving
    return twins


def _served(found: Serving) -> ServedModel:
    """Return what the load measurement found: at the concurrency that is compared, and in `points` at each."""
    points = [_point(point) for point in found.points]
    return ServedModel.of(
        found.measurement,
        **dict(points[0]),
        points=points,
        reason=found.reason,
        method=found.method,
        quality=found.quality,
        idle_power_W=interval_of(found.idle_power),
        request_terms=_terms(found.compared.per_request),
        accelerator_terms=_terms(found.compared.accelerator_per_request),
        idle_terms=found.idle_power and merged_terms(found.idle_power),
        attempt=found.server and found.server.id,
        threads=found.measurement.threads.threads,
    )


def _terms(quantity: Repeated | None) -> dict[str, float] | None:
    return None if quantity is None else merged_terms(quantity.estimate)


def _point(point: PointEnergy) -> ServedPoint:
    return ServedPoint.of(
        point.written,
        energy_J=interval_of(point.energy),
        energy_per_request_J=over_rounds(point.per_request),
        energy_per_token_J=over_rounds(point.per_token),
        rounds=len(point.written.rounds),
        duration_s=point.duration_s,
    )


def over_rounds(quantity: Repeated | None) -> Interval | None:
    """Return one deployment's quantity with the sensors' error and the spread between its rounds."""
    return None if quantity is None else Quantity({"": {0: quantity}}).mean("")
