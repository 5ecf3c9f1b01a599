"""The account of a study: every number of its tables and its report, from attributed joules and stage results.

It reads and writes no files. An account has two views of the same joules. *Spent* counts every attempt once, also the
failed, killed, lost and superseded ones. *Cost to produce* counts a model and each of its ancestors once, so a parent
shared by two models is in the cost of both.
"""

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from greenllm.account.document import (
    Account,
    ExperimentAccount,
    JobComponent,
    JobRow,
    LedgerFile,
    MethodRow,
    Missing,
    UnusedGpu,
)
from greenllm.account.efficiency import efficiency_rows
from greenllm.attribution.waste import UNSUCCESSFUL
from greenllm.comparison.decision import decided
from greenllm.comparison.model import ModelFacts, model_of, twins_of
from greenllm.comparison.recipes import Comparison, compared
from greenllm.comparison.rows import ComparedRecipes
from greenllm.estimate import UNSEEN, interval_of
from greenllm.footprint.carbon import grid_factor
from greenllm.footprint.impact import impact_rows, spent_by
from greenllm.footprint.power_over_time import PowerCourse, series
from greenllm.footprint.rows import HostPower
from greenllm.footprint.standing import JobAttempt, attempts, by_chain_job
from greenllm.ledger.energy_log import SUMMED, Component
from greenllm.study.chain import ChainJob, chain_jobs
from greenllm.study.models import Config
from greenllm.study.results import Key, Study
from greenllm.tasks import TASKS

if TYPE_CHECKING:
    from greenllm.attribution import Attribution


def account(study: Study, attribution: "Attribution", packages: Mapping[str, str]) -> Account:
    """Return the account of a study (what it holds: results/README.md)."""
    config = study.config
    found = attempts(attribution.jobs)
    until = max((attempt.ended or attempt.started for attempt in found), default=None)
    year = datetime.datetime.fromisoformat(until).year if until else datetime.datetime.now(datetime.UTC).year
    factor, pue = grid_factor(config.site, year), config.site.pue
    models, comparisons = compared_of(study, attribution, found)
    ordered = _as_configured(found, config)
    return Account(
        until=until,
        config=config.model_dump(mode="json", by_alias=True, exclude_unset=True),
        policy=attribution.policy,
        parameters=dict(sorted(attribution.parameters.items())),
        hosts=attribution.host_totals(),
        ledgers=[LedgerFile.of(job.attempt) for job in attribution.jobs],
        troubles=attribution.troubles,
        packages=dict(packages),
        grid=factor,
        grid_reason="site.country is null and no factor of your own is given" if factor is None else None,
        pue=pue,
        experiments={name: _experiment(name, study, comparisons[name]) for name in config.experiments},
        models=[model.row(factor, pue) for model in models.values()],
        spent=spent_by(ordered, factor, pue),
        jobs=[_job(attempt) for attempt in found],
        efficiency=efficiency_rows(ordered, models.values()),
        impact=impact_rows(ordered, factor, pue),
        methods=_methods(found),
        power=_power(found, attribution),
        missing=_missing(study, found),
        unused=[row for attempt in ordered for row in _unused(attempt)],
    )


def compared_of(
    study: Study, attribution: "Attribution", found: Sequence[JobAttempt]
) -> tuple[dict[Key, ModelFacts], dict[str, Comparison]]:
    """Return what is known of each model that the study compares, and the comparison of each experiment's recipes."""
    by_id = {attempt.id: attempt for attempt in found}
    tried = by_chain_job(found)
    models = {key: model_of(key, study, by_id, tried, attribution) for key in study.plan.compared()}
    return models, compared(study, models, twins_of(study, by_id, attribution))


def _experiment(name: str, study: Study, comparison: Comparison) -> ExperimentAccount:
    experiment = study.config.experiments[name]
    task = TASKS[experiment.task]
    rows, advice = decided(comparison, study.plan.decision(name))
    measured = [one for (measured_name, _), one in study.side_by_side.items() if measured_name == name]
    return ExperimentAccount(
        task=experiment.task,
        metrics=dict(task.metrics),
        primary=task.primary,
        higher_is_better=task.higher_is_better,
        card=study.cards.get(name),
        preparation=study.preparations.get(name),
        comparison=ComparedRecipes(
            baseline=comparison.baseline,
            seeds=experiment.seeds,
            twin=comparison.twin,
            starts=max((one.planned.starts for one in measured), default=None),
            rounds=max((one.planned.rounds for one in measured), default=None),
            steady=comparison.twin is None or comparison.twin.steady,
            chance=comparison.chance,
            recipes=rows,
        ),
        recommendation=advice,
    )


def _as_configured(found: Sequence[JobAttempt], config: Config) -> list[JobAttempt]:
    """Return the attempts in the configuration's order of experiments and recipes, each recipe's in order of time."""
    experiments, recipes = list(config.experiments), list(config.recipes)

    def place(name: str | None, names: list[str], without: int) -> int:
        return without if name is None else names.index(name) if name in names else len(names)

    return sorted(
        found,
        key=lambda attempt: (
            place(attempt.experiment, experiments, len(experiments) + 1),
            place(attempt.recipe, recipes, -1),
        ),
    )


def _job(attempt: JobAttempt) -> JobRow:
    components = [JobComponent.of(part, energy_J=interval_of(part.energy)) for part in attempt.components]
    return JobRow.of(attempt, energy_J=interval_of(attempt.energy), components=components)


def _unused(attempt: JobAttempt) -> list[UnusedGpu]:
    """Return a row for each GPU that an attempt held and never used, with the energy that it used meanwhile."""
    return [
        UnusedGpu.of(attempt, stage=attempt.rule, gpu=part.device, energy_J=interval_of(part.energy))
        for part in attempt.components
        if part.device in attempt.unused
    ]


def _methods(found: Sequence[JobAttempt]) -> list[MethodRow]:
    """Return each (host, component, device) with how its energy was found and how much of the study's it is."""
    groups: dict[tuple[str, str, str, str, str], list[Component]] = defaultdict(list)
    for attempt in found:
        for part in attempt.components:
            groups[attempt.host, part.component, part.device, part.method, part.quality].append(part)
    rows = []
    for key, parts in sorted(groups.items(), key=lambda item: str(item[0])):
        host, component, device, method, quality = key
        energies = [part.energy for part in parts if part.energy is not None]
        names = {f"{UNSEEN}…" if name.startswith(UNSEEN) else name for energy in energies for name in energy.terms}
        reasons = [part.reason for part in parts if part.energy is None]
        rows.append(
            MethodRow(
                host=host,
                component=component,
                device=device,
                method=method,
                quality=quality,
                energy_J=sum(energy.value for energy in energies) if energies else None,
                attempts=len(parts),
                parameters=sorted(names),
                reason=reasons[-1] if reasons else None,
            )
        )
    return rows


def _power(found: Sequence[JobAttempt], attribution: "Attribution") -> list[HostPower]:
    """Return each host's attributed power over time, by component and stage."""
    courses: dict[str, list[PowerCourse]] = defaultdict(list)
    for attempt in found:
        power = attribution.power(attempt.id)
        for component, power_W in power.components_W.items():
            if component in SUMMED and len(power_W):
                course = PowerCourse(attempt.rule, component, power.start_s, power.end_s, power_W)
                courses[attempt.host].append(course)
    return [HostPower(host=host, segments=series(own)) for host, own in sorted(courses.items())]


def _missing(study: Study, found: Sequence[JobAttempt]) -> list[Missing]:
    """Return the results that the configuration asks for and that are not there, with the reason from the ledgers."""
    rows = []
    by_job = by_chain_job(found)
    unsuccessful = [attempt for attempt in found if attempt.standing in UNSUCCESSFUL]
    for key in study.plan.compared():
        experiment, recipe, seed = key
        measured = study.measurement(key)
        jobs = {
            "evaluate": (key in study.evaluations, ChainJob("evaluate", experiment, recipe, seed)),
            "measure": (measured is not None and measured.failure is None, ChainJob("measure", experiment, None, seed)),
        }
        for stage, (done, job) in jobs.items():
            if done:
                continue
            tried = by_job.get(job, [])
            chain = set(chain_jobs(study.plan, *key))
            before = [attempt for attempt in unsuccessful if attempt.chain_job in chain]
            if stage == "measure" and measured is not None and measured.failure is not None:
                reason = measured.failure
            elif tried:
                reason = _failure(tried[-1])
            elif before:
                reason = f"not started: {before[-1].rule} {before[-1].recipe or ''} before it {_failure(before[-1])}"
            else:
                reason = "not run yet"
            rows.append(
                Missing(experiment=experiment, recipe=recipe, seed=seed, stage=stage, reason=" ".join(reason.split()))
            )
    return rows


def _failure(attempt: JobAttempt) -> str:
    if attempt.status == "succeeded":
        return "succeeded, but its result is gone: removed to be made again"
    code = "" if attempt.exit_code in (None, 0) else f" (exit status {attempt.exit_code})"
    return f"{attempt.status} in attempt {attempt.number}{code}"
