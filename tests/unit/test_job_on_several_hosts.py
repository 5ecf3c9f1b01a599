"""A job on two hosts, each with a meter: its energy, its waste and its energy per unit of work are those of both."""

import json
from pathlib import Path
from typing import Any

import pytest
from simulated_study import Simulation, config

from greenllm.account.account import account
from greenllm.account.consumed import Consumed
from greenllm.account.document import Account
from greenllm.attribution import attribute
from greenllm.attribution.stored import StoredAttribution
from greenllm.footprint.equipment import equipment_of
from greenllm.study.results import read_study

NAMES: dict[str, Any] = {"experiment": "support", "recipe": "baseline", "seed": 1}


@pytest.fixture
def found(tmp_path: Path) -> dict[str, Any]:
    """The account of a study whose training lost its second host, and then succeeded on both."""
    study = Simulation(tmp_path, config(), memory_B=64e9)
    second = Simulation(tmp_path, study.config, host="node2", memory_B=64e9)
    study.prepare("support")
    began_s = study.now_s
    lost = study.job("train", 20, 1.9, status="killed", **NAMES)
    second.job("train-node", 15, 1.5, status="lost", parent=lost, at_s=began_s + 1, **NAMES)
    began_s = study.now_s
    study.train("support", "baseline", 1)
    (made,) = (path.stem for path in tmp_path.glob("ledger/node1/*.jsonl") if path.stem > lost)
    second.job("train-node", 55, 1.5, parent=made, at_s=began_s + 2, **NAMES)
    study.evaluate("support", "baseline", 1, 0.9)
    result: dict[str, Any] = json.loads(
        json.dumps(account(read_study(study.config, tmp_path), attribute(tmp_path / "ledger"), {}).to_json())
    )
    return result


def energy_J(rows: list[dict[str, Any]]) -> float:
    return sum(row["energy_J"]["value"] for row in rows)


def test_energy_per_unit_of_work_is_that_of_both_hosts(found: dict[str, Any]) -> None:
    (row,) = [row for row in found["efficiency"] if row["stage"] == "train"]
    parts = [job for job in found["jobs"] if job["rule"] == "train" and job["standing"] == "current"]
    assert {job["host"] for job in parts} == {"node1", "node2"}
    assert row["energy_J"]["value"] == pytest.approx(energy_J(parts))
    assert row["J_per_sample"]["value"] == pytest.approx(energy_J(parts) / 80000)


def test_the_cost_of_the_model_includes_both_hosts_and_no_lost_attempt(found: dict[str, Any]) -> None:
    (model,) = [one for one in found["models"] if (one["experiment"], one["recipe"]) == ("support", "baseline")]
    steps = [step for step in model["cost_to_produce"]["steps"] if step["rule"] == "train"]
    parts = [job for job in found["jobs"] if job["rule"] == "train" and job["standing"] == "current"]
    assert sum(step["energy_J"]["value"] for step in steps) == pytest.approx(energy_J(parts))


def test_both_parts_of_the_lost_attempt_are_waste(found: dict[str, Any]) -> None:
    wasted = {(job["host"], job["standing"]) for job in found["jobs"] if job["standing"] in ("killed", "lost")}
    assert wasted == {("node1", "killed"), ("node2", "lost")}


def test_the_equipment_of_both_hosts_was_reserved(found: dict[str, Any], tmp_path: Path) -> None:
    stored = StoredAttribution.model_validate(json.loads(json.dumps(attribute(tmp_path / "ledger").to_json())))
    for host in stored.hosts:  # whose one processor has counters of a die and of memory, too
        names = (("cpu", "package-0"), ("cpu", "package-0-die-1"), ("dram", "package-0-dram"))
        like = host.devices[0]
        host.devices.extend(like.model_copy(update={"component": kind, "device": name}) for kind, name in names)
    consumed = Consumed(Account.model_validate(found), stored, equipment_of({}, [], 2026))
    trained = [(row, one) for row, one in consumed.jobs if row.rule == "train" and row.standing == "current"]
    assert {row.host for row, _ in trained} == {"node1", "node2"}
    for row, one in trained:
        duration_s = next(job.duration_s or 0.0 for job in stored.jobs if job.id == row.id)
        assert one.reserved == pytest.approx({"processor": duration_s, "server": duration_s, "memory": 64 * duration_s})
