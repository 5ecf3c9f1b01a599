"""A budget for the power of running jobs: jobs name what earlier attempts drew, and Snakemake keeps the sum low."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUDY = {
    "experiments": {
        "support": {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["baseline", "pruned"]}
    },
    "recipes": {"baseline": {"train": {}}, "pruned": {"from": "baseline", "prune": {"structured": 0.5}}},
    "device": "cpu",
}


def write_ledger(folder: Path, name: str, rule: str, recipe: str | None, energy_J: float, duration_s: float) -> None:
    """Write a ledger as a meter does, as far as the power of its attempt follows from it."""
    wildcards = {"experiment": "support"} | ({} if recipe is None else {"recipe": recipe, "seed": "1"})
    start = {"record": "start", "id": name, "job": {"rule": rule, "wildcards": wildcards, "attempt": 1}}
    components = [
        {"component": "cpu", "energy_J": {"value": 0.9 * energy_J}},
        {"component": "dram", "energy_J": {"value": 0.1 * energy_J}},
        {"component": "platform", "energy_J": {"value": 5 * energy_J}},  # contains the others
        {"component": "gpu", "energy_J": None},
    ]
    end = {"record": "end", "status": "succeeded", "duration_s": duration_s, "components": components}
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(start), *["[1, 2, 3]"] * 50, json.dumps(end)]
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def ledgers(tmp_path: Path) -> Path:
    """Ledgers of an earlier run of the study."""
    folder = tmp_path / "results/ledger/host"
    write_ledger(folder, "a1", "train", "baseline", 300, 10)
    write_ledger(folder, "a2", "train", "baseline", 500, 10)  # together 40 W
    write_ledger(folder, "m", "measure", None, 100, 10)
    write_ledger(folder, "m.1", "serve", "baseline", 400, 8)  # inside: 50 W in all
    write_ledger(folder, "e", "evaluate", "other", 600, 10)
    (folder / "damaged.jsonl").write_text("{not json\n")
    return folder


def planned(folder: Path, env: dict[str, str], *resources: str) -> subprocess.CompletedProcess[str]:
    (folder / "study.yaml").write_text(json.dumps(STUDY))
    command: list[str | Path] = [
        Path(sys.executable).with_name("snakemake"),
        "--snakefile",
        ROOT / "Snakefile",
        "--directory",
        folder,
    ]
    command += [
        "--workflow-profile",
        "none",
        "--logger",
        "greenllm-jobs",
        "--configfile",
        folder / "study.yaml",
        "--cores",
        "8",
        "--dry-run",
        "--resources",
        "gpu=1",
        *resources,
    ]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def powers(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str | None], int]:
    """Return the power that each job names, by rule and recipe."""
    assert done.returncode == 0, done.stderr
    jobs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        (job["rule"], job["wildcards"].get("recipe")): job["resources"]["power_W"]
        for job in jobs
        if "power_W" in job["resources"]
    }


def test_a_job_names_what_earlier_attempts_drew_and_else_what_a_model_says(tmp_path, env, ledgers):
    found = powers(planned(tmp_path, env, "power_W=400"))
    assert found["train", "baseline"] == 40
    assert found["measure", None] == 50
    assert found["evaluate", "pruned"] == found["evaluate", "baseline"] == 60  # of its rule alone
    assert 1 <= found["preprocess", None] <= found["compress", "pruned"] < 100  # modelled: one thread, two threads
    assert found["report", None] >= 1


def test_without_a_budget_no_job_names_its_power(tmp_path, env, ledgers):
    assert powers(planned(tmp_path, env)) == {}


def test_a_budget_smaller_than_one_job_is_refused_with_what_that_job_needs(tmp_path, env, ledgers):
    done = planned(tmp_path, env, "power_W=45")
    assert done.returncode == 2
    assert "power budget: 45 W, but measure of support alone is expected to draw 50 W" in done.stderr
    assert "--resources power_W=50" in done.stderr
    assert "Traceback" not in done.stderr
