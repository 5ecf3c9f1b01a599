"""An RO-Crate of the run: Provenance Run Crate 0.5, each attempt an action with its energy as `resourceUsage`.

Profile: https://w3id.org/ro/wfrun/provenance/0.5, on RO-Crate 1.1. Energies are in joules. The crate holds the
workflow's Snakefile, the account, the attribution, the evaluations and measurements, and the ledgers of the attempts
that have ended. Its files are copies.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import greenllm
from greenllm.account.document import Account, JobRow
from greenllm.exports.consequences import Consequences, consequences
from greenllm.exports.form import DoesNotApplyError, Exported, Files, Form, Json, NotHereError, known
from greenllm.exports.stages import Stage, version_of
from greenllm.study import layout

METADATA = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.1"
CONTEXTS = [f"{CRATE}/context", "https://w3id.org/ro/terms/workflow-run/context"]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
SNAKEFILE = "Snakefile"
CONFIGURATION = "configuration.json"
# What a usage says → its id and unit (QUDT).
QUANTITIES = {
    "energy": ("https://qudt.org/vocab/quantitykind/Energy", "https://qudt.org/vocab/unit/J"),
    "carbon": ("greenllm:operational-carbon", "https://qudt.org/vocab/unit/GM"),
}
STATUS = {"succeeded": "CompletedActionStatus"}  # of others: failed


@dataclass(frozen=True)
class _Payload:
    """The files of the crate beside its metadata and configuration, by their path in it.

    `ledgers` has the path of each attempt's ledger by the attempt's id.
    """

    files: Mapping[str, Path]
    descriptions: Mapping[str, str]
    ledgers: Mapping[str, str]


def _files(exported: Exported) -> Files:
    account = exported.account
    workflow = Path(greenllm.__file__).parents[2] / SNAKEFILE
    if not workflow.is_file():
        raise NotHereError(f"{workflow}: no such file; the crate holds the workflow, so run from its repository")
    if not account.jobs:
        raise DoesNotApplyError("no attempt has been metered; run the workflow first")
    payload = _payload(exported, workflow)
    graph = list(_graph(account, payload, consequences(account, exported.footprint)))
    metadata = {"@context": CONTEXTS, "@graph": graph}
    return {
        METADATA: json.dumps(metadata, indent=2, ensure_ascii=False) + "\n",
        CONFIGURATION: json.dumps(account.config, indent=2, ensure_ascii=False) + "\n",
        **payload.files,
    }


def _payload(exported: Exported, workflow: Path) -> _Payload:
    results, account = exported.results, exported.account
    found = {SNAKEFILE: (workflow, "the workflow")}
    for pattern, what in ((layout.ACCOUNT, "every number of the study"), (layout.ATTRIBUTION, "joules of each job")):
        place = layout.located(pattern, results)
        found[str(place.relative_to(results))] = (place, what)
    for model in account.models:
        wildcards: dict[str, str | int] = {"experiment": model.experiment, "recipe": model.recipe, "seed": model.seed}
        for pattern, what in ((layout.EVALUATION, "quality of a model"), (layout.MEASUREMENT, "servers under load")):
            place = layout.located(pattern, results, **wildcards)
            found[str(place.relative_to(results))] = (place, what)
    ended = {job.id for job in account.jobs if job.ended is not None}
    ledgers = layout.located(layout.LEDGER, results)
    for ledger in account.ledgers:
        if ledger.id in ended:
            found[f"ledger/{ledger.path}"] = (ledgers / ledger.path, "the sensors' readings during an attempt")
    there = {name: (path, what) for name, (path, what) in found.items() if path.is_file()}
    return _Payload(
        {name: path for name, (path, _) in there.items()},
        {name: what for name, (_, what) in there.items()},
        {one.id: name for one in account.ledgers if (name := f"ledger/{one.path}") in there},
    )


def _graph(account: Account, payload: _Payload, site: Consequences) -> Iterator[Json]:
    jobs = [job for job in account.jobs if job.standing != "running"]
    rules = list(dict.fromkeys(job.rule for job in jobs))
    yield {"@id": METADATA, "@type": "CreativeWork", "about": _ref("./"),
           "conformsTo": [_ref(CRATE), _ref("https://w3id.org/workflowhub/workflow-ro-crate/1.0")]}  # fmt: skip
    yield _root(account, jobs, payload)
    for address, (name, version) in PROFILES.items():
        yield {"@id": address, "@type": "CreativeWork", "name": name, "version": version}
    yield from _workflow(account, rules)
    yield {"@id": CONFIGURATION, "@type": "File", "name": CONFIGURATION, "encodingFormat": "application/json",
           "description": "the configuration of the study"}  # fmt: skip
    digests = {f"ledger/{ledger.path}": ledger.sha256 for ledger in account.ledgers}
    for name, path in payload.files.items():
        if name != SNAKEFILE:
            format_ = "application/jsonl" if name.endswith(".jsonl") else "application/json"
            size = str(path.stat().st_size)
            yield known(
                **{"@id": name, "@type": "File"},
                name=Path(name).name, description=payload.descriptions[name], encodingFormat=format_,
                contentSize=size, sha256=digests.get(name),
            )  # fmt: skip
    yield from _runs(account, jobs)
    for job in jobs:
        yield from _action(job, payload.ledgers.get(job.id), site)


def _root(account: Account, jobs: list[JobRow], payload: _Payload) -> Json:
    runs = [_run_id(run_id) for run_id in dict.fromkeys(job.run_id for job in jobs)]
    return known(
        **{"@id": "./", "@type": "Dataset"},
        name=f"GreenLLM study of {', '.join(account.experiments)}",
        description="A study of language models, with the energy of every job",
        datePublished=account.until,
        license="the study's authors have not named one",
        conformsTo=[_ref(address) for address in PROFILES],
        mainEntity=_ref(SNAKEFILE),
        hasPart=[_ref(name) for name in (*payload.files, CONFIGURATION)],
        mentions=[_ref(run) for run in runs] + [_ref(f"{run}-engine") for run in runs],
    )


def _workflow(account: Account, rules: list[str]) -> Iterator[Json]:
    yield {
        "@id": SNAKEFILE,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "GreenLLM workflow",
        "programmingLanguage": _ref(SNAKEMAKE),
        "hasPart": [_ref(f"#tool-{rule}") for rule in rules],
        "step": [_ref(f"{SNAKEFILE}#{rule}") for rule in rules],
    }
    snakemake = account.packages.get("snakemake")
    yield known(
        **{"@id": SNAKEMAKE, "@type": "ComputerLanguage"},
        name="Snakemake", url="https://snakemake.readthedocs.io", version=snakemake,
    )  # fmt: skip
    yield known(**{"@id": "#snakemake", "@type": "SoftwareApplication"}, name="Snakemake", version=snakemake)
    for position, rule in enumerate(rules, start=1):
        yield {"@id": f"#tool-{rule}", "@type": "SoftwareApplication", "name": f"greenllm {rule}",
               "version": version_of(account)}  # fmt: skip
        yield {"@id": f"{SNAKEFILE}#{rule}", "@type": "HowToStep", "name": rule, "position": position,
               "workExample": _ref(f"#tool-{rule}")}  # fmt: skip


def _runs(account: Account, jobs: list[JobRow]) -> Iterator[Json]:
    """Yield each invocation of the workflow: its action, that of its engine, and the energy of all of its attempts."""
    spent = {run.run_id: run for run in account.spent.runs}
    by_run: dict[str, list[JobRow]] = defaultdict(list)
    for job in jobs:
        by_run[job.run_id].append(job)
    for run_id, of_run in by_run.items():
        run = spent[run_id]
        yield {
            "@id": _run_id(run_id),
            "@type": "CreateAction",
            "name": f"run {run_id} of the workflow",
            "instrument": _ref(SNAKEFILE),
            "object": [_ref(CONFIGURATION)],
            "result": [_ref("account/account.json")],
            "startTime": run.started,
            "endTime": run.ended,
            "resourceUsage": [_ref(f"{_run_id(run_id)}-energy")] if run.energy_J else [],
        }
        if run.energy_J:
            yield _usage(f"{_run_id(run_id)}-energy", "energy", *run.energy_J, "the sum of the run's attempts")
        yield {
            "@id": f"{_run_id(run_id)}-engine",
            "@type": "OrganizeAction",
            "name": f"Snakemake's execution of run {run_id}",
            "instrument": _ref("#snakemake"),
            "object": [_ref(f"#control-{job.id}") for job in of_run],
            "result": _ref(_run_id(run_id)),
        }


def _action(job: JobRow, ledger: str | None, site: Consequences) -> Iterator[Json]:
    """Yield an attempt: the step's execution, the tool's, and what it used; its result in the crate is its ledger."""
    status = f"http://schema.org/{STATUS.get(job.status, 'FailedActionStatus')}"
    stage = Stage(job.rule, job.recipe, (job,))
    carbon = site.carbon_g(stage)
    yield {"@id": f"#control-{job.id}", "@type": "ControlAction", "instrument": _ref(f"{SNAKEFILE}#{job.rule}"),
           "object": _ref(f"#job-{job.id}"), "actionStatus": status}  # fmt: skip
    usages = []
    if job.energy_J is not None:
        usages.append(_usage(f"#job-{job.id}-energy", "energy", *job.energy_J, f"{stage.quality}; {stage.method}"))
    if carbon is not None:
        usages.append(_usage(f"#job-{job.id}-carbon", "carbon", *carbon, site.boundary(stage)))
    yield known(
        **{"@id": f"#job-{job.id}", "@type": "CreateAction"},
        name=" ".join(
            filter(None, (job.rule, job.experiment, job.recipe, None if job.seed is None else f"seed {job.seed}"))
        ),
        description=f"attempt {job.number}, {job.status}; its result is {job.standing}",
        instrument=_ref(f"#tool-{job.rule}"),
        startTime=job.started,
        endTime=job.ended,
        actionStatus=status,
        error=None if job.status == "succeeded" else job.status,
        result=[_ref(ledger)] if ledger else None,
        resourceUsage=[_ref(usage["@id"]) for usage in usages] or None,
    )
    yield from usages


def _usage(id_: str, quantity: str, value: float, low: float | None, high: float | None, how: str) -> Json:
    """Return a usage of a resource, with its 95 % bounds where they are known."""
    property_id, unit = QUANTITIES[quantity]
    return known(
        **{"@id": id_, "@type": "PropertyValue"},
        name=quantity, propertyID=property_id, unitCode=unit, value=value, minValue=low, maxValue=high, description=how,
    )  # fmt: skip


def _run_id(run_id: str) -> str:
    return f"#run-{run_id}"


def _ref(id_: str) -> Json:
    return {"@id": id_}


FORM = Form("ro-crate", "RO-Crate of the run (Provenance Run Crate)", _files)
