"""The tables of a study: which columns of its account each shows, and under which title."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from greenllm.footprint.efficiency import UNITS
from greenllm.meter.estimate import UNSEEN
from greenllm.report.numbers import quantity
from greenllm.report.tables import Column, Table

Account = Mapping[str, Any]

UNIT_TITLES = {"sample": "sample", "token": "token", "request": "request", "1e8_flops": "10⁸ operations"}


def metric_name(metric: str) -> str:
    """Return a metric's name as a reader knows it."""
    return {"exact_match": "exact match", "macro_f1": "macro-F1", "chrf": "chrF"}.get(metric, metric.replace("_", " "))


def moment(timestamp: str) -> str:
    """Return an RFC 3339 time to the second, in UTC."""
    return datetime.datetime.fromisoformat(timestamp).astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def comparison(account: Account) -> Table:
    """One row a recipe: quality, energy, speed, size and cost to produce."""
    rows = []
    for name, experiment in account["experiments"].items():
        for row in experiment["comparison"]["recipes"]:
            quality = row["quality"]
            rows.append(
                {
                    **row,
                    "experiment": name,
                    "verdict": _verdict(row),
                    "metric": metric_name(experiment["primary"]),
                    "quality": quality and {bound: quality[bound] for bound in ("value", "low", "high")},
                }
            )
    unknown = "unknown"
    return Table(
        "comparison",
        "Recipes compared: quality, the server's energy per request and token, speed, size and cost to produce",
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe"),
            Column("metric", "Metric"),
            Column("quality", "Quality", "1", "interval", unknown),
            Column("energy_per_request_J", "Per request", "J", "interval", unknown),
            Column("energy_per_token_J", "Per token", "J", "interval", unknown),
            Column("energy_quality", "Energy is", absent=unknown),
            Column("times_less", "Times less", "×", "interval"),
            Column("verdict", "Verdict"),
            Column("latency_p50_s", "p50", "s", "number", unknown),
            Column("latency_p95_s", "p95", "s", "number", unknown),
            Column("requests_per_s", "Rate", "requests/s", "number", unknown),
            Column("model_bytes", "Model", "B", "number", unknown),
            Column("cost_to_produce_J", "To produce", "J", "interval", unknown),
            Column("break_even_requests", "Break-even", "requests", "interval"),
        ],
        rows,
        [
            "Energy per request and per token is the server's alone, within the measurement window; times less: the "
            "baseline's energy per request over the recipe's. p50, p95: latency. To produce: energy of the model's "
            "whole lineage. Break-even: requests after which the extra energy to produce is saved. Intervals are 95 %.",
            _seeds_note(account),
        ],
    )


def _verdict(row: Mapping[str, Any]) -> str:
    return f"unknown: {row['reason']}" if row["verdict"] == "unknown" and row["reason"] else str(row["verdict"])


def _seeds_note(account: Account) -> str:
    counts = {len(experiment["comparison"]["seeds"]) for experiment in account["experiments"].values()}
    if counts == {1}:
        return (
            "One seed each: intervals hold the error of sensors and models, not the spread between runs. "
            "More seeds in the configuration would show it."
        )
    return "Where an experiment has several seeds, means are shown, and the spread over seeds is part of the interval."


def efficiency(account: Account) -> Table:
    """One row a stage and seed: energy per unit of each kind of work, E = C/R."""
    return Table(
        "efficiency",
        "Energy per unit of work, E = C/R (lower is better)",
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe", absent="shared"),
            Column("seed", "Seed", None, "number"),
            Column("stage", "Stage"),
            Column("scope", "Scope"),
            Column("energy_J", "Energy", "J", "interval", "unknown"),
            *(
                Column(
                    f"work_{unit.name}",
                    f"Work, {UNIT_TITLES[unit.name]}s".replace("operationss", "operations"),
                    "1",
                    "number",
                )
                for unit in UNITS
            ),
            *(Column(f"J_per_{unit.name}", f"Per {UNIT_TITLES[unit.name]}", "J", "interval") for unit in UNITS),
            Column("quality", "Energy is", absent="unknown"),
            Column("method", "Method"),
            Column("unknown", "Not counted, and why"),
        ],
        account["efficiency"],
        ["A dash: the stage did no work of that unit. Attempts that failed or were superseded are not in this table."],
    )


def impact(account: Account) -> Table:
    """One row a stage, recipe and experiment: joules, kilowatt-hours and grams, with the factor's origin."""
    pue = account["pue"]
    return Table(
        "impact",
        "Energy and location-based carbon of everything that was run",
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe"),
            Column("stage", "Stage"),
            Column("attempts", "Attempts", None, "number"),
            Column("energy_J", "Energy", "J", "interval", "unknown"),
            Column("waste_J", "Of it waste", "J", "interval", "unknown"),
            Column("energy_kWh", "Energy", "kWh", "interval", "unknown"),
            Column("carbon_gCO2e", "Carbon, IT equipment", "g CO₂e", "interval", "unknown"),
            Column("pue", "PUE", "1", "number", "unknown"),
            Column("carbon_site_gCO2e", "Carbon, with PUE", "g CO₂e", "interval", "unknown"),
            Column("grid_gCO2e_per_kWh", "Grid factor", "g CO₂e/kWh", "number", "unknown", on_page=False),
            Column("grid_low", "Factor, low", "g CO₂e/kWh", "number", "unknown", on_page=False),
            Column("grid_high", "Factor, high", "g CO₂e/kWh", "number", "unknown", on_page=False),
            Column("grid_place", "Place", absent="unknown", on_page=False),
            Column("grid_year", "Year", None, "number", "unknown", on_page=False),
            Column("grid_outdated", "Outdated", absent="unknown", on_page=False),
            Column("grid_source", "Source", absent="unknown", on_page=False),
            Column("grid_licence", "Licence", absent="unknown", on_page=False),
        ],
        account["impact"],
        [
            "Every attempt is counted once; waste is what failed, was killed, got lost or was superseded. "
            + (f"The site's PUE is {pue}." if pue else "No PUE is given: the IT equipment alone is counted."),
            *([account["grid_reason"]] if account["grid_reason"] else []),
        ],
    )


def serving(account: Account) -> Table:
    """One row a served model: what the load measurement found."""
    rows = []
    for model in account["models"]:
        if (found := model["serving"]) is None:
            continue
        latency, first = found["latency_s"] or {}, found["time_to_first_token_s"] or {}
        throughput, agreement = found["throughput"] or {}, found["agreement"] or {}
        rows.append(
            {name: model[name] for name in ("experiment", "recipe", "seed", "engine", "precision")}
            | {name: found[name] for name in ("answered", "failed", "concurrency", "duration_s", "energy_J", "reason")}
            | {name: latency.get(name) for name in ("p50", "p95", "p99")}
            | {"first_p50": first.get("p50"), "first_p95": first.get("p95")}
            | {name: throughput.get(name) for name in ("requests_per_s", "tokens_per_s")}
            | {"agreement": agreement.get("share")}
        )
    unknown = "unknown"
    return Table(
        "serving",
        "Served models under load",
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe"),
            Column("seed", "Seed", None, "number"),
            Column("engine", "Engine", absent=unknown),
            Column("precision", "Precision", absent=unknown),
            Column("answered", "Answered", None, "number"),
            Column("failed", "Failed", None, "number"),
            Column("concurrency", "Concurrency", None, "number"),
            Column("duration_s", "Window", "s", "number"),
            Column("energy_J", "Server's energy", "J", "interval", unknown),
            Column("p50", "Latency p50", "s", "number", unknown),
            Column("p95", "Latency p95", "s", "number", unknown),
            Column("p99", "Latency p99", "s", "number", unknown),
            Column("first_p50", "First token p50", "s", "number", unknown),
            Column("first_p95", "First token p95", "s", "number", unknown),
            Column("requests_per_s", "Requests", "requests/s", "number", unknown),
            Column("tokens_per_s", "Tokens", "tokens/s", "number", unknown),
            Column("agreement", "Answers as evaluated", "1", "number", unknown),
            Column("reason", "Energy unknown because"),
        ],
        rows,
    )


def quality(account: Account) -> Table:
    """One row a model and metric."""
    rows = []
    for model in account["models"]:
        if (found := model["quality"]) is None:
            continue
        described = account["experiments"][model["experiment"]]["metrics"]
        for metric, value in found["metrics"].items():
            rows.append(
                {name: model[name] for name in ("experiment", "recipe", "seed")}
                | {"metric": metric_name(metric), "value": value, "examples": found["examples"]}
                | {"meaning": described.get(metric), "bootstrap": found["bootstrap"]}
            )
    return Table(
        "quality",
        "Quality on the test split",
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe"),
            Column("seed", "Seed", None, "number"),
            Column("metric", "Metric"),
            Column("value", "Value", "1", "interval"),
            Column("examples", "Test examples", None, "number"),
            Column("bootstrap", "Bootstrap samples", None, "number"),
            Column("meaning", "What it is"),
        ],
        rows,
    )


def produced(account: Account) -> Table:
    """One row a step in a model's making."""
    rows = []
    for model in account["models"]:
        cost = model["cost_to_produce"]
        named = {name: model[name] for name in ("experiment", "recipe", "seed")}
        for step in cost["steps"]:
            rows.append(
                named
                | {"step": step["rule"], "of": step["recipe"] or "shared", "energy_J": step["energy_J"]}
                | {"attempts": len(step["ids"]), "carbon_g": None, "missing": None}
            )
        rows.append(
            named
            | {"step": "total, at least" if cost["missing"] else "total", "of": None, "energy_J": cost["energy_J"]}
            | {"attempts": sum(len(step["ids"]) for step in cost["steps"]), "carbon_g": cost["carbon_g"]}
            | {"missing": "; ".join(cost["missing"]) or None}
        )
    return Table(
        "produced",
        "Cost to produce each model: its lineage, each ancestor once",
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe"),
            Column("seed", "Seed", None, "number"),
            Column("step", "Step"),
            Column("of", "Of recipe"),
            Column("attempts", "Attempts", None, "number"),
            Column("energy_J", "Energy", "J", "interval", "unknown"),
            Column("carbon_g", "Carbon", "g CO₂e", "interval"),
            Column("missing", "Not counted, and why"),
        ],
        rows,
        ["A training resumed from a checkpoint includes the attempts that were cut off before it."],
    )


def spent(account: Account) -> Table:
    """One row a run of the workflow."""
    return Table(
        "spent",
        "Spent in each run of the workflow",
        [
            Column("run_id", "Run"),
            Column("hosts", "Hosts"),
            Column("started", "Started (UTC)"),
            Column("ended", "Ended (UTC)"),
            Column("attempts", "Attempts", None, "number"),
            Column("energy_J", "Energy", "J", "interval", "unknown"),
            Column("waste_J", "Of it waste", "J", "interval", "unknown"),
            Column("carbon_g", "Carbon", "g CO₂e", "interval", "unknown"),
        ],
        [
            {
                **run,
                "hosts": ", ".join(run["hosts"]),
                "started": moment(run["started"]),
                "ended": moment(run["ended"]),
            }
            for run in account["spent"]["runs"]
        ],
    )


def methods(account: Account) -> Table:
    """One row a host, component and device: by which sensor or model its energy is known."""
    return Table(
        "methods",
        "How each component's energy was found",
        [
            Column("host", "Host"),
            Column("component", "Component"),
            Column("device", "Device"),
            Column("method", "Method"),
            Column("quality", "Energy is", absent="unknown"),
            Column("energy_J", "Energy", "J", "number", "unknown"),
            Column("attempts", "Attempts", None, "number"),
            Column("parameters", "Parameters"),
            Column("reason", "Unknown because"),
        ],
        [{**row, "parameters": ", ".join(row["parameters"])} for row in account["methods"]],
        ["Platform contains the other components; it is shown for comparison and never added."],
    )


def parameters(account: Account) -> Table:
    """One row a constant that the energies rest on; not each attempt's own errors, of what its readings left open."""
    return Table(
        "parameters",
        "Constants of sensors and models, with their 95 % interval and source",
        [
            Column("name", "Parameter"),
            Column("value", "Value", "1", "interval"),
            Column("unit", "Unit"),
            Column("source", "Source"),
        ],
        [
            {"name": name, "value": row, "unit": row["unit"], "source": row["source"]}
            for name, row in account["parameters"].items()
            if not name.startswith(UNSEEN)
        ],
    )


def _gaps(account: Account) -> list[str]:
    gaps = [gap for host in account["hosts"] for gap in host["gaps"]]
    if not gaps:
        return []
    duration = quantity(sum(gap["duration_s"] for gap in gaps), "s")
    return [f"Not watched, and counted nowhere: {duration} in {len(gaps)} {'gap' if len(gaps) == 1 else 'gaps'}."]


def conservation(account: Account) -> Table:
    """One row a device: what its sensor counted is the jobs', other processes' and idle energy."""
    rows = [{"host": host["host"], **device} for host in account["hosts"] for device in host["devices"]]
    return Table(
        "conservation",
        "Where each counted joule went: counted = jobs + other processes + unallocated idle",
        [
            Column("host", "Host"),
            Column("component", "Component"),
            Column("device", "Device"),
            Column("quality", "Energy is", absent="unknown"),
            Column("counted_J", "Counted", "J", "number", "unknown"),
            Column("jobs_J", "Jobs", "J", "number", "unknown", like="counted_J"),
            Column("other_J", "Other processes", "J", "number", "unknown", like="counted_J"),
            Column("idle_J", "Idle", "J", "number", "unknown", like="counted_J"),
        ],
        rows,
        [
            f"Attribution policy: {account['policy']}.",
            *_gaps(account),
            *(f"Trouble: {trouble}" for trouble in account["troubles"]),
        ],
    )


def data(account: Account) -> Table:
    """One row a file that an experiment's data come from."""
    rows = []
    for name, experiment in account["experiments"].items():
        card = experiment["card"] or {}
        shared = {"experiment": name, "task": experiment["task"]}
        shared |= {key: card.get(key) for key in ("origin", "source", "licence", "revision", "bad_row_count")}
        for file in card.get("files") or [{}]:
            rows.append(shared | {key: file.get(key) for key in ("part", "file", "rows", "bytes", "sha256")})
    return Table(
        "data",
        "Data cards",
        [
            Column("experiment", "Experiment"),
            Column("task", "Task"),
            Column("source", "Source", absent="unknown"),
            Column("origin", "Origin", absent="unknown"),
            Column("licence", "Licence", absent="unknown"),
            Column("revision", "Revision"),
            Column("part", "Part", absent="unknown"),
            Column("file", "File", absent="unknown"),
            Column("rows", "Rows", None, "number", "unknown"),
            Column("bytes", "Size", "B", "number", "unknown"),
            Column("bad_row_count", "Bad rows", None, "number", "unknown"),
            Column("sha256", "SHA-256"),
        ],
        rows,
    )


def ledgers(account: Account) -> Table:
    """One row a ledger that the account rests on."""
    return Table(
        "ledgers",
        "Ledgers that every number rests on",
        [
            Column("id", "Attempt"),
            Column("path", "Ledger"),
            Column("bytes", "Bytes", None, "number"),
            Column("sha256", "SHA-256"),
        ],
        account["ledgers"],
    )


def missing(account: Account) -> Table:
    """One row a result that the configuration asks for and that is not there."""
    return Table(
        "missing",
        "Asked for and not there",
        [
            Column("experiment", "Experiment"),
            Column("recipe", "Recipe"),
            Column("seed", "Seed", None, "number"),
            Column("stage", "Stage"),
            Column("reason", "Reason"),
        ],
        account["missing"],
    )


# Tables that have a rule of their own, so that they can be made without the page.
NAMED: dict[str, Callable[[Account], Table]] = {"efficiency": efficiency, "impact": impact}
# Tables written with the page.
PAGE: tuple[Callable[[Account], Table], ...] = (
    comparison, serving, quality, produced, spent, methods, parameters, conservation, data, ledgers, missing,
)  # fmt: skip
