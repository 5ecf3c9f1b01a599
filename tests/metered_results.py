"""A results folder as the workflow leaves it: a simulated study whose ledgers also record what each job read and made.

With energy logs, and with the jobs that account, verify, export and report, whose own ledgers end after the account.
"""

import fcntl
import functools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import simulated_study
from simulated_study import GPU, GPU_GAIN, MODELLED, PARAMETERS, RAPL, RAPL_GAIN, Simulation, config

from greenllm.account.document import Account
from greenllm.attribution import attribute
from greenllm.cli import main
from greenllm.config.read import validate
from greenllm.ledger.energy_log import SCHEMA, summed
from greenllm.meter.fingerprints import fingerprints
from greenllm.study import layout
from greenllm.study.models import Config

EPOCH_s = 1_760_000_000.0  # October 2025: not of the future, wherever the tests run
LIMIT_W = 40.0  # of the simulated package and GPU, which draw 3 W, and 6 W for each busy CPU
RESULTS = Path("results")

# What a job of each rule reads and makes, as the workflow's rules say.
PLACES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "collect": ((), (layout.COLLECTED,)),
    "preprocess": ((layout.COLLECTED,), (layout.PREPARED,)),
    "train": ((layout.PREPARED,), (layout.MODEL,)),
    "compress": ((layout.MODEL.replace("{recipe}", "baseline"), layout.PREPARED), (layout.MODEL,)),
    "evaluate": ((layout.MODEL, layout.PREPARED), (layout.EVALUATION, layout.PREDICTIONS)),
    "measure": ((), (layout.MEASUREMENT,)),
}


def metered_results(folder: Path, **sections: Any) -> Path:
    """Write the results of a study of one experiment below a folder; return the results folder.

    `sections` are those of its configuration beside the experiments.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_study, "EPOCH_s", EPOCH_s)
        patch.chdir(folder)
        study = _study(sections)
        for path in sorted((RESULTS / "ledger").glob("*/*.jsonl")):
            _complete(path)
        _finish(study)
    return folder / RESULTS


def again(results: Path, named: bool = True) -> None:
    """Account, verify, export and report once more, in the folder around `results`: a second run of the workflow.

    Where ledgers are not `named`, none says in which folder it was written, as those of earlier versions don't.
    """
    config = Account.read(results / "account/account.json", "").config
    for name in ("account", "exports", "report"):  # as Snakemake does before it runs their jobs
        shutil.rmtree(results / name)
    last = []
    for path in (results / "ledger").glob("*/*.jsonl"):
        records = read_records(path)
        last.append(records[-2])
        if not named:
            records[0].pop("ledger")
            write_records(path, records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_study, "EPOCH_s", EPOCH_s)
        patch.chdir(results.parent)
        study = _simulation(validate(config, Config, "test"))
        study.run_id = "run-2"
        study.now_s, _, study.busy_s, *_ = max(last)
        study.now_s += 1
        _finish(study, named)


def read_records(path: Path) -> list[Any]:
    """Return the records of a ledger: start, samples, end."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_records(path: Path, records: list[Any]) -> None:
    """Write the records of a ledger."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def ledger_of(results: Path, rule: str, **asked: Any) -> Path:
    """Return the first ledger of a rule whose job has what is asked for (recipe, attempt)."""
    for path in sorted((results / "ledger").glob("*/*.jsonl")):
        job = read_records(path)[0]["job"]
        if job["rule"] == rule and all({**job["wildcards"], **job}[name] == value for name, value in asked.items()):
            return path
    raise LookupError(rule)


def _simulation(study: Config) -> Simulation:
    package: dict[str, Any] = {**RAPL, "counter": {"unit_J": 1e-6, "wrap": None, "shared": True, "max_W": LIMIT_W}}
    return Simulation(
        RESULTS,
        study,
        sensors=[package, MODELLED[1], GPU | {"limit_W": LIMIT_W}],
        parameters={**PARAMETERS, **RAPL_GAIN, **GPU_GAIN},
    )


def _study(sections: Mapping[str, Any]) -> Simulation:
    """Run a study on a host with RAPL and a GPU; a first training is killed."""
    experiments = {
        "support": {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["baseline", "int8"]}
    }
    study = _simulation(config(experiments=experiments, **sections))
    study.prepare("support")
    study.train("support", "baseline", 1, 60, killed_s=20)
    study.evaluate("support", "baseline", 1, 0.9)
    study.compress("support", "int8", 1)
    study.evaluate("support", "int8", 1, 0.9)
    study.measure("support", 1, {"baseline": 26.0, "int8": 5.0}, twin=26.0)
    for recipe in ("baseline", "int8"):
        (study.model_folder("support", recipe, 1) / "model.safetensors").write_bytes(os.urandom(4096))
    (RESULTS / "data/support/prepared/test.parquet").write_bytes(os.urandom(1024))
    return study


def _complete(path: Path) -> None:
    """Add to a ledger what a meter records of a job of the workflow, and write its energy log."""
    records = read_records(path)
    start, rule, names = records[0], records[0]["job"]["rule"], records[0]["job"]["wildcards"]
    read, made = ([str(layout.located(at, RESULTS, **names)) for at in places] for places in PLACES.get(rule, ((), ())))
    _identify(start, ["python", "-m", "greenllm", rule], None if start["parent"] else read)
    start["exclusive"] = rule in ("evaluate", "measure")
    _end(path, records, made)
    if records[-1]["status"] == "succeeded":
        _log(path, "/".join([rule, *(f"{name}-{value}" for name, value in names.items())]))


def _identify(start: dict[str, Any], command: list[str], read: Sequence[str] | None) -> None:
    inputs = None if read is None else fingerprints({name: Path(name) for name in read})
    start |= {"cwd": str(Path.cwd()), "ledger": str(Path.cwd() / RESULTS / "ledger"), "command": command}
    start |= {"waited_s": 0.0, "planned_s": None, "held_s": 0.0, "inputs": inputs}


def _end(path: Path, records: list[Any], made: Sequence[str]) -> None:
    """Complete the end record and write the ledger; its provisional energies are those of this ledger's job."""
    start, end = records[0], records[-1]
    write_records(path, records)
    end |= {
        "wall_s": EPOCH_s + end["monotonic_s"],
        "duration_s": end["monotonic_s"] - start["monotonic_s"],
        "outputs": fingerprints({name: Path(name) for name in made}) if end["status"] == "succeeded" else None,
        "lost_records": 0,
        "components": [part.to_json() for part in attribute(RESULTS / "ledger").job(start["id"]).components],
    }
    write_records(path, records)


def _log(path: Path, name: str) -> None:
    """Write the energy log of an ended attempt."""
    start, *_, end = read_records(path)
    job = attribute(RESULTS / "ledger").job(start["id"])
    energy = summed(job.components)
    place = RESULTS / f"energy/{name}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    of_start = ("id", "parent", "run_id", "host", "boot_id", "job", "command", "config_hash", "inputs", "started")
    of_end = ("outputs", "ended", "duration_s", "status", "exit_code", "components", "cpu_s", "lost_records", "work")
    log = {
        "schema": SCHEMA,
        **{key: start[key] for key in (*of_start, "threads", "gpus", "waited_s", "planned_s", "held_s")},
        **{key: end.get(key) for key in of_end},
        "ledger": os.path.relpath(path, place.parent),
        "energy_J": energy and energy.to_json(),
        "partial": job.partial,
        "parameters": {name: parameter.to_json() for name, parameter in energy.parameters.items()} if energy else {},
    }
    place.write_text(json.dumps(log, indent=2))


def _finish(study: Simulation, named: bool = True) -> None:
    """Account, verify, export and report under a meter; the account reads its own ledger while it is being written."""
    metered = functools.partial(_metered, study, named)
    folder = str(RESULTS)
    attribution, account, footprint, record = (
        f"results/account/{name}.json" for name in ("attribution", "account", "footprint", "verification")
    )
    page, tables, exports = "results/report", "results/report/tables", "results/exports"
    results = [str(path) for path in RESULTS.glob("evaluations/**/seed-1.json")]
    settings = Path("results/account/study.json")
    settings.parent.mkdir(parents=True)
    settings.write_text(study.config.model_dump_json(by_alias=True))
    command = ["account", "--config", str(settings), "--results", folder, "--out", "results/account"]
    metered(command, results, [str(settings), attribution, account], running=True)
    metered(["verify", folder, "--record", record], [account], [record])
    command = ["report", "--account", account, "--table", "efficiency", "--out", f"{tables}/efficiency.csv"]
    metered(command, [account], [f"{tables}/efficiency.csv"], "efficiency")
    command = ["footprint", folder, "--out", footprint, "--table", f"{tables}/impact.csv"]
    metered(command, [account, attribution], [f"{tables}/impact.csv", footprint], "impact")
    command = ["export", folder, "--to", "all", "--out", exports]
    metered(command, [account, footprint], [exports], "exports")
    command = ["report", "--account", account, "--footprint", footprint, "--verification", record, "--out", page]
    made = ["index.html", "summary.json", "figures/power.svg", "tables/comparison.csv"]
    metered(command, [account, footprint, record], [f"{page}/{name}" for name in made])


def _metered(
    study: Simulation,
    named: bool,
    command: list[str],
    read: Sequence[str],
    made: Sequence[str],
    rule: str | None = None,
    running: bool = False,
) -> None:
    """Run a command of greenllm as a job of the workflow; `running`: it finds its own ledger begun and locked."""
    rule = rule or command[0]
    attempt = study.job(rule, 5, 1.0, on_gpu=False)
    path = RESULTS / "ledger" / study.host / f"{attempt}.jsonl"
    records = read_records(path)
    _identify(records[0], ["python", "-m", "greenllm", *command], read)
    if not named:
        records[0].pop("ledger")
    write_records(path, records[:2])
    with path.open() as file:
        if running:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            path.unlink()
        assert main(command) == 0
    _end(path, records, made)
    _log(path, rule)
