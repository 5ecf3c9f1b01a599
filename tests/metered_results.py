"""A results folder as the workflow leaves it: a simulated study whose ledgers also record what each job read and made.

With energy logs, and with the jobs that account, verify and report, whose own ledgers end after the account.
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import simulated_study
from simulated_study import GPU, GPU_GAIN, MODELLED, PARAMETERS, RAPL, RAPL_GAIN, Simulation, config

from greenllm.attribution import attribute
from greenllm.cli import main
from greenllm.ledger.energy_log import SCHEMA, summed
from greenllm.meter.fingerprints import fingerprints
from greenllm.study import layout

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


def metered_results(folder: Path) -> Path:
    """Write the results of a study of one experiment below a folder; return the results folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated_study, "EPOCH_s", EPOCH_s)
        patch.chdir(folder)
        study = _study()
        for path in sorted((RESULTS / "ledger").glob("*/*.jsonl")):
            _complete(path)
        _finish(study)
    return folder / RESULTS


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


def _study() -> Simulation:
    """Run a study on a host with RAPL and a GPU; a first training is killed."""
    experiments = {
        "support": {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["baseline", "int8"]}
    }
    package: dict[str, Any] = {**RAPL, "counter": {"unit_J": 1e-6, "wrap": None, "shared": True, "max_W": LIMIT_W}}
    study = Simulation(
        RESULTS,
        config(experiments=experiments),
        sensors=[package, MODELLED[1], GPU | {"limit_W": LIMIT_W}],
        parameters={**PARAMETERS, **RAPL_GAIN, **GPU_GAIN},
    )
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
    start |= {
        "cwd": str(Path.cwd()),
        "command": command,
        "waited_s": 0.0,
        "planned_s": None,
        "held_s": 0.0,
        "inputs": inputs,
    }


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


def _finish(study: Simulation) -> None:
    """Account, verify and report under a meter; the account reads its own ledger while that is being written."""
    settings, folder = study.config.model_dump_json(by_alias=True), str(RESULTS)
    account, record, page = "results/account/account.json", "results/account/verification.json", "results/report"
    results = [str(path) for path in RESULTS.glob("evaluations/**/seed-1.json")]
    command = ["account", "--config", settings, "--results", folder, "--out", "results/account"]
    _metered(study, command, results, ["results/account/attribution.json", account], running=True)
    _metered(study, ["verify", folder, "--record", record], [account], [record])
    for name in ("efficiency", "impact"):
        table = f"results/report/tables/{name}.csv"
        _metered(study, ["report", "--account", account, "--table", name, "--out", table], [account], [table], name)
    command = ["report", "--account", account, "--verification", record, "--out", page]
    made = ["index.html", "summary.json", "figures/power.svg", "tables/comparison.csv"]
    _metered(study, command, [account, record], [f"{page}/{name}" for name in made])


def _metered(
    study: Simulation,
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
    write_records(path, records[:2])
    with path.open() as file:
        if running:
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            path.unlink()
        assert main(command) == 0
    _end(path, records, made)
    _log(path, rule)
