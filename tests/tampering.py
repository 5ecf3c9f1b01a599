"""Kinds of tampering with a results folder, or of damage to it: each a small edit of one file."""

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from metered_results import ledger_of, read_records, write_records

HOUR_s = 3600.0


class Tampering(NamedTuple):
    """An edit, the checks that must find it, and a part of the place that one of them must name."""

    name: str
    edit: Callable[[Path], None]
    checks: Sequence[str]
    place: str

    @property
    def of_the_report(self) -> bool:
        """Whether only a verification of what is made from the account can find it."""
        return bool({"footprint", "exports", "report", "record"} & set(self.checks)) or self.place.startswith("report/")


def in_ledger(rule: str, change: Callable[[list[Any]], list[Any] | None], **asked: Any) -> Callable[[Path], None]:
    """Return an edit of the records of a rule's ledger: in place, or with the list that `change` returns."""

    def edit(results: Path) -> None:
        path = ledger_of(results, rule, **asked)
        records = read_records(path)
        write_records(path, change(records) or records)

    return edit


def in_record(rule: str, place: int, change: Callable[[Any], None], **asked: Any) -> Callable[[Path], None]:
    """Return an edit of one record of a rule's ledger: 0 is the start, -1 the end."""
    return in_ledger(rule, lambda records: change(records[place]), **asked)


def in_json(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Return an edit of a JSON file."""

    def edit(results: Path) -> None:
        value = json.loads((results / name).read_text())
        change(value)
        (results / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    return edit


def in_text(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return an edit that replaces the first match of a pattern in a text file."""

    def edit(results: Path) -> None:
        text, count = re.subn(old, new, (results / name).read_text(), count=1)
        assert count == 1
        (results / name).write_text(text)

    return edit


def put(*keys: Any, value: Any) -> Callable[[Any], None]:
    """Return a change of one value; a function is applied to the old one."""

    def change(found: Any) -> None:
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = value(found[keys[-1]]) if callable(value) else value

    return change


def column(records: list[Any], name: str) -> int:
    """Return a column's place in the samples."""
    return int(records[0]["columns"].index(name))


def in_column(name: str, sample: int, change: Callable[[float], float]) -> Callable[[list[Any]], None]:
    """Return a change of one reading; samples count from 1, as lines of the ledger do from 0."""

    def edit(records: list[Any]) -> None:
        at = column(records, name)
        records[sample][at] = change(records[sample][at])

    return edit


def later(seconds: float, clocks: Sequence[str], first: int = 1) -> Callable[[list[Any]], None]:
    """Return a change that moves samples from the `first` on in time, and both records with them if it is the first."""

    def edit(records: list[Any]) -> None:
        for name in clocks:
            at = column(records, name)
            for row in records[first:-1]:
                row[at] += seconds
            if first == 1:
                for record in (records[0], records[-1]):
                    record[name] += seconds

    return edit


def moved_to_idle(attribution: Any) -> None:
    """Move 5 J of a device from its jobs to idle."""
    device = attribution["hosts"][0]["devices"][0]
    device["jobs_J"] -= 5
    device["idle_J"] += 5


def swapped(records: list[Any]) -> list[Any]:
    """Swap two samples."""
    return [*records[:5], records[6], records[5], *records[7:]]


def copied(results: Path) -> None:
    """Put a second copy of a ledger beside it."""
    path = ledger_of(results, "compress")
    shutil.copy(path, path.with_name(f"{path.stem}-copy.jsonl"))


def invented(results: Path) -> None:
    """Add a ledger of an attempt that the account does not count."""
    path = ledger_of(results, "compress")
    records = read_records(path)
    records[0] |= {"id": "run-1-999", "job": {**records[0]["job"], "rule": "other"}}
    write_records(path.with_name("run-1-999.jsonl"), records)


def emptied(results: Path) -> None:
    """Cut a ledger off at its begin."""
    ledger_of(results, "compress").write_bytes(b"")


def torn(results: Path) -> None:
    """Cut a ledger off in the middle of its last sample."""
    path = ledger_of(results, "train", attempt=2)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]) + lines[-2][:20])


def better_prediction(results: Path) -> None:
    """Make one wrong answer right."""
    path = results / "evaluations/support/int8/seed-1.predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    wrong = next(row for row in rows if row["prediction"] != row["completion"])
    wrong["prediction"] = wrong["completion"]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def without_last_line(results: Path) -> None:
    """Drop the last prediction."""
    path = results / "evaluations/support/int8/seed-1.predictions.jsonl"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*lines[:-2], ""]), encoding="utf-8")


def other_weight(results: Path) -> None:
    """Flip one bit of a model, and keep the file's times."""
    path = results / "models/support/int8/seed-1/model/model.safetensors"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_parquet(results: Path) -> None:
    """Change a number in a table's Parquet file alone."""
    path = results / "report/tables/spent.parquet"
    frame = pd.read_parquet(path)
    frame["energy_J"] = 0.9 * frame["energy_J"]
    frame.to_parquet(path, index=False)


def changed_number(found: Any) -> None:
    """Change the first number with a fraction in a JSON value."""
    assert other_number(found)


def other_number(found: Any) -> bool:
    """Change the first number with a fraction in a JSON value; return whether there was one."""
    for key, value in found.items() if isinstance(found, dict) else enumerate(found):
        if isinstance(value, float) and value not in (0.0, 1.0):
            found[key] = 1.01 * value
            return True
        if isinstance(value, dict | list) and other_number(value):
            return True
    return False


def in_export(name: str) -> Callable[[Path], None]:
    """Return an edit of the first number of an export, in whatever kind of file."""
    if name.endswith(".json") and not name.startswith("eu-ai-act/"):  # that one has its numbers in texts
        return in_json(f"exports/{name}", changed_number)
    return in_text(f"exports/{name}", r"\d\.\d+", "0.0625")


def stranger(results: Path) -> None:
    """Put a file into an export that its form does not have."""
    (results / "exports/sci/better.json").write_text("{}")


RAW, GPU_RAW = "cpu/package-0.raw", "gpu/GPU-0.raw"
FOOTPRINT = "account/footprint.json"
# One file of each form and kind.
EXPORTED = (
    "cyclonedx/bom.json",
    "boamps/support-baseline-seed-1-train.json",
    "model-card/support-int8-seed-1/README.md",
    "codecarbon/emissions.csv",
    "sci/sci.json",
    "sci/sci.md",
    "eu-ai-act/support-int8-seed-1.json",
    "eu-ai-act/support-int8-seed-1.md",
    "ai-energy-score/master_results.csv",
    "ai-energy-score/support-int8/GPU_ENERGY_SUMMARY.json",
    "ai-energy-score/support-int8/GPU_ENERGY_WH.txt",
    "ro-crate/ro-crate-metadata.json",
    "ro-crate/configuration.json",
    "ro-crate/account/attribution.json",
)
ACCOUNT, ATTRIBUTION, SUMMARY = "account/account.json", "account/attribution.json", "report/summary.json"
EVALUATION, MEASUREMENT = "evaluations/support/int8/seed-1.json", "measurements/support/seed-1.json"
LOG = "energy/train/experiment-support/recipe-baseline/seed-1.json"
POINT = ("servers", 1, "points", 0)

KINDS = [
    # ledgers
    Tampering(
        "a digit of a reading",
        in_ledger("evaluate", in_column(RAW, 4, lambda x: x - 1000)),
        ["ledgers", "numbers"],
        "run-1",
    ),
    Tampering(
        "a sample dropped", in_ledger("train", lambda found: [*found[:9], *found[10:]], attempt=2), ["ledgers"], "run-1"
    ),
    Tampering("two samples swapped", in_ledger("train", swapped, attempt=2), ["ledgers", "clocks"], "sample"),
    Tampering(
        "the end record removed", in_ledger("compress", lambda found: found[:-1]), ["ledgers", "numbers"], "run-1"
    ),
    Tampering("a torn ledger", torn, ["ledgers"], "run-1"),
    Tampering(
        "a ledger removed", lambda results: ledger_of(results, "compress").unlink(), ["ledgers", "numbers"], "run-1"
    ),
    Tampering(
        "a killed attempt removed",
        lambda results: ledger_of(results, "train", attempt=1).unlink(),
        ["ledgers", "attempts"],
        "run-1",
    ),
    Tampering(
        "the outer meter's ledger removed",
        lambda results: ledger_of(results, "measure").unlink(),
        ["ledgers", "attempts", "measurements"],
        "serve",
    ),
    Tampering("an empty ledger", emptied, ["ledgers"], "run-1"),
    Tampering("a ledger copied", copied, ["ledgers"], "copy"),
    Tampering("a ledger invented", invented, ["ledgers"], "run-1-999"),
    Tampering(
        "a parameter's interval narrowed",
        in_record("train", 0, put("parameters", "rapl.gain", "low", value=0.999), attempt=2),
        ["ledgers", "energy logs"],
        "rapl.gain",
    ),
    Tampering(
        "another boot",
        in_record("compress", 0, put("boot_id", value="boot-x")),
        ["ledgers", "energy logs"],
        "boot_id",
    ),
    # what readings can be
    Tampering(
        "a counter ran backwards",
        in_ledger("train", in_column(RAW, 30, lambda x: x - 1e9), attempt=2),
        ["counters"],
        "package-0",
    ),
    Tampering(
        "CPU time ran backwards",
        in_ledger("train", in_column("cpu_s", 30, lambda x: x - 40), attempt=2),
        ["counters"],
        "cpu_s",
    ),
    Tampering(
        "power above the card's limit",
        in_ledger("train", in_column(GPU_RAW, 30, lambda x: x + 200e6), attempt=2),
        ["power"],
        "GPU-0",
    ),
    Tampering(
        "more CPU time than there was",
        in_ledger("train", in_column("cpu_s", 61, lambda x: x + 50), attempt=2),
        ["power"],
        "cpu_s",
    ),
    Tampering(
        "too few joules for the operations",
        in_record("train", -1, put("work", "flops", value=1.9e19), attempt=2),
        ["floor", "energy logs"],
        "run-1",
    ),
    # clocks, coverage, attempts
    Tampering(
        "a wall clock set back",
        in_ledger("train", later(-HOUR_s, ["wall_s"], first=20), attempt=2),
        ["clocks"],
        "run-1",
    ),
    Tampering("an attempt on another day", in_ledger("compress", later(-24 * HOUR_s, ["wall_s"])), ["clocks"], "run-1"),
    Tampering(
        "an attempt of the future",
        in_ledger("compress", later(30 * 365 * 24 * HOUR_s, ["wall_s"])),
        ["clocks"],
        "run-1",
    ),
    Tampering(
        "a shorter duration",
        in_record("compress", -1, put("duration_s", value=2.0)),
        ["clocks", "energy logs"],
        "duration_s",
    ),
    Tampering(
        "samples missing for 25 s",
        in_ledger("train", lambda found: [*found[:20], *found[45:]], attempt=2),
        ["coverage"],
        "CLOCK_MONOTONIC",
    ),
    Tampering(
        "two at once on an exclusive host",
        in_ledger("compress", later(-6.0, ["monotonic_s", "wall_s"])),
        ["attempts"],
        " and ",
    ),
    Tampering("an attempt's number", in_record("compress", 0, put("job", "attempt", value=2)), ["attempts"], "run-1"),
    # energy logs
    Tampering(
        "a log's energy",
        in_json(LOG, put("energy_J", "value", value=lambda x: x * 0.9)),
        ["energy logs"],
        "energy_J.value",
    ),
    Tampering("a log's work", in_json(LOG, put("work", "samples", value=160000)), ["energy logs"], "work.samples"),
    Tampering("a log removed", lambda results: (results / LOG).unlink(), ["energy logs"], "train"),
    # the account
    Tampering(
        "a job's energy in the attribution",
        in_json(ATTRIBUTION, put("jobs", 3, "energy_J", "value", value=lambda x: x - 1.0)),
        ["numbers", "conservation"],
        "energy_J.value",
    ),
    Tampering(
        "joules moved from jobs to idle", in_json(ATTRIBUTION, moved_to_idle), ["numbers", "conservation"], "jobs_J"
    ),
    Tampering(
        "a negative energy",
        in_json(ATTRIBUTION, put("hosts", 0, "devices", 0, "idle_J", value=-3.0)),
        ["conservation"],
        "idle_J",
    ),
    Tampering("a grid factor", in_json(ACCOUNT, put("grid", "value", value=56.0)), ["numbers"], "grid.value"),
    Tampering(
        "a factor's year", in_json(ACCOUNT, put("grid", "year", value=lambda year: year - 1)), ["numbers"], "grid.year"
    ),
    Tampering(
        "waste forgotten",
        in_json(ACCOUNT, put("spent", "waste", "killed", "attempts", value=0)),
        ["numbers"],
        "spent.waste.killed",
    ),
    Tampering(
        "another decision asked for",
        in_json(ACCOUNT, put("config", "decision", value={"requests": 10})),
        ["numbers"],
        "config.decision",
    ),
    Tampering(
        "a configuration that is none",
        in_json(ACCOUNT, put("config", "experiments", value="none")),
        ["numbers", "conservation", "coverage"],
        "account.json",
    ),
    # results of the stages
    Tampering(
        "a score raised",
        in_json(EVALUATION, put("metrics", "accuracy", "value", value=lambda x: x + 0.02)),
        ["files", "predictions", "numbers"],
        "accuracy",
    ),
    Tampering(
        "a torn evaluation", lambda results: os.truncate(results / EVALUATION, 100), ["files", "numbers"], "int8"
    ),
    Tampering("a prediction made right", better_prediction, ["files", "predictions"], "accuracy"),
    Tampering("a prediction dropped", without_last_line, ["files", "predictions"], "examples"),
    Tampering(
        "more answers than rounds",
        in_json(MEASUREMENT, put(*POINT, "answered", value=1100)),
        ["files", "measurements"],
        "int8",
    ),
    Tampering(
        "a longer round",
        in_json(MEASUREMENT, put(*POINT, "rounds", 3, "window", "monotonic_end_s", value=lambda x: x + 1)),
        ["files", "measurements"],
        "round 3",
    ),
    Tampering("a bit of a model", other_weight, ["files"], "models/support/int8"),
    Tampering(
        "a training's steps",
        in_json("models/support/baseline/seed-1/model/training.json", put("steps", value=12500)),
        ["files"],
        "models/support/baseline",
    ),
    Tampering(
        "a data card",
        in_json("data/support/collected/card.json", put("licence", value="CC0-1.0")),
        ["files"],
        "data/support/collected",
    ),
    Tampering(
        "data deleted",
        lambda results: (results / "data/support/prepared/test.parquet").unlink(),
        ["files"],
        "data/support/prepared",
    ),
    # the footprint
    Tampering(
        "a factor's value in the footprint",
        in_json(FOOTPRINT, put("site", "grid_carbon", "value", value=lambda x: x / 2)),
        ["files", "footprint"],
        "site.grid_carbon.value",
    ),
    Tampering(
        "a factor's bound in the footprint",
        in_json(FOOTPRINT, put("site", "pue", "high", value=lambda x: x - 0.01)),
        ["files", "footprint"],
        "site.pue.high",
    ),
    Tampering(
        "a factor's year in the footprint",
        in_json(FOOTPRINT, put("site", "grid_carbon", "year", value=lambda year: year + 1)),
        ["files", "footprint"],
        "site.grid_carbon.year",
    ),
    Tampering(
        "a factor's source in the footprint",
        in_json(FOOTPRINT, put("site", "grid_water", "source", value="a better one")),
        ["files", "footprint"],
        "site.grid_water.source",
    ),
    Tampering(
        "embodied carbon of a device",
        in_json(FOOTPRINT, put("equipment", 0, "embodied", "value", value=lambda x: x / 10)),
        ["files", "footprint"],
        "embodied.value",
    ),
    Tampering(
        "an interval of the footprint narrowed",
        in_json(FOOTPRINT, put("rows", -1, "carbon_g", "high", value=lambda x: 0.999 * x)),
        ["files", "footprint"],
        "carbon_g.high",
    ),
    Tampering(
        "a decision over factors",
        in_json(FOOTPRINT, put("decisions", 0, "recommended", value="int8")),
        ["files", "footprint"],
        "decisions[0].recommended",
    ),
    Tampering(
        "a footprint with fewer draws",
        in_json(FOOTPRINT, put("method", "draws", value=100_000)),
        ["files", "footprint"],
        "method.draws",
    ),
    Tampering("a torn footprint", lambda results: os.truncate(results / FOOTPRINT, 100), ["footprint"], FOOTPRINT),
    Tampering(
        "a cell of the impact table",
        in_text("report/tables/impact.csv", r"(support,int8,.*?\d\.)\d\d", r"\g<1>00"),
        ["files", "report"],
        "impact.csv",
    ),
    Tampering(
        "a cell of the impact table in LaTeX",
        in_text("report/tables/impact.tex", r"\d\.\d", "0.1"),
        ["report"],
        "impact.tex",
    ),
    # the exports
    *(
        Tampering(f"a number of the export {name}", in_export(name), ["files", "exports"], f"exports/{name}")
        for name in EXPORTED
    ),
    Tampering(
        "a form removed",
        lambda results: shutil.rmtree(results / "exports/cyclonedx"),
        ["files", "exports"],
        "exports/cyclonedx",
    ),
    Tampering("a file added to an export", stranger, ["files", "exports"], "exports/sci/better.json"),
    Tampering(
        "a form that does not apply",
        in_text("exports/README.md", r"CycloneDX.*", "CycloneDX 1.7 ML-BOM | does not apply: no energy is known |"),
        ["files", "exports"],
        "exports/README.md",
    ),
    # the report
    Tampering(
        "a number of the summary",
        in_json(SUMMARY, put("models", 1, "flops_per_token", value=1e6)),
        ["files", "report"],
        "flops_per_token",
    ),
    Tampering(
        "a finding of the summary",
        in_json(SUMMARY, put("findings", 0, "recipe", value="int4")),
        ["files", "report"],
        "findings",
    ),
    Tampering(
        "a cell of a table",
        in_text("report/tables/comparison.csv", r"(support,int8,.*?\d\.)\d\d", r"\g<1>00"),
        ["files", "report"],
        "comparison.csv",
    ),
    Tampering("a number of a Parquet file", other_parquet, ["report"], "spent.parquet"),
    Tampering(
        "a cell of a LaTeX table",
        in_text("report/tables/comparison.tex", r"\d\.\d", "0.1"),
        ["report"],
        "comparison.tex",
    ),
    Tampering(
        "words of the page",
        in_text("report/index.html", "GreenLLM report: support", "GreenLLM report: other"),
        ["files", "report"],
        "index.html",
    ),
    Tampering(
        "a drawing", in_text("report/figures/power.svg", r"\d\.\d", "0.1"), ["files"], "report/figures/power.svg"
    ),
    Tampering(
        "the page's verification",
        in_text("report/index.html", "Verified by greenllm [0-9.]+", "Verified by greenllm 9.9"),
        ["files", "record"],
        "verified",
    ),
    Tampering(
        "the recorded verification",
        in_json("account/verification.json", put("ledgers_sha256", value="0" * 64)),
        ["files", "record"],
        "ledgers_sha256",
    ),
]
