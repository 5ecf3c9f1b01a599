"""A study whose measurement is stopped with Ctrl-C and resumed; and a recipe that is added to a finished study."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from deploying import of_this_test
from side_by_side import SERVER

ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
# All recipes are the model as it is. The servers are stand-ins, whose answers are not the model's.
DEPLOYMENT: dict[str, Any] = {"rounds": 4, "requests": 8, "round_s": 0.5, "warmup": 1, "idle_s": 0, "threads": 1}
DEPLOYMENT |= {"server": SERVER, "agreement": 0}


class Study:
    """A study of two experiments in a folder of its own."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        self._model = model
        rows = "".join(f"question {n} about subject {n * 7919 % 997},label {n % 4}\n" for n in range(200))
        (folder / "rows.csv").write_text("prompt,completion\n" + rows)
        (folder / "locks").mkdir()

    def command(self, recipes: Sequence[str], *options: str) -> list[str]:
        """Return the command that measures experiment a with these recipes; and b, unless options name a target."""
        experiment = {
            "task": "customer-service",
            "data": {"source": "file", "train": str(self.folder / "rows.csv")},
            "model": {"init": str(self._model)},
        }
        study = {
            "results": str(self.results),
            "experiments": {"a": {**experiment, "recipes": recipes}, "b": {**experiment, "recipes": ["original"]}},
            "recipes": {recipe: {} for recipe in recipes},
            "evaluate": {"rows": 8, "max_tokens": 4, "bootstrap": 100},
            "deploy": DEPLOYMENT,
            "device": "cpu",
        }
        (self.folder / "study.yaml").write_text(json.dumps(study))
        place = ["--snakefile", f"{ROOT}/Snakefile", "--directory", f"{self.folder}"]
        wanted = [*options, "--", *(str(self.measurement(name)) for name in ("a", "b"))]
        command = [str(SNAKEMAKE), *place, "--configfile", f"{self.folder}/study.yaml", "--cores", "2"]
        return [*command, *wanted]

    def measurement(self, experiment: str) -> Path:
        """Return where an experiment's measurement is."""
        return self.results / f"measurements/{experiment}/seed-1.json"

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the workflow: it does not wait for other jobs on this host."""
        return os.environ | {"GREENLLM_LOCKS": str(self.folder / "locks")}

    def run(self, recipes: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
        """Run the workflow to its end."""
        command = self.command(recipes, *options)
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def servers(self, experiment: str) -> list[str]:
        """Return the names of the servers that were measured."""
        written = json.loads(self.measurement(experiment).read_text())
        return [server["name"] for server in written["servers"] if server["points"]]


def attribution(study: Study) -> dict[str, Any]:
    """Return what the energy of the study was spent for."""
    command = [sys.executable, "-m", "greenllm", "attribute", str(study.results / "ledger"), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


SERVERS = {"a": 3, "b": 2}  # with the twin


def requests_are_sent(study: Study) -> bool:
    """Return whether all load generators of a measurement have connected to their servers."""
    begun = next(study.results.glob("energy/load/*/seed-1"), None)  # cheaper than to look at all processes
    if begun is None:
        return False
    loads = [one for one in of_this_test(study.folder) if "--orders" in one.info["cmdline"] and one.net_connections()]
    return len(loads) == SERVERS[begun.parent.name]


def stop_in_mid_measurement(study: Study, recipes: Sequence[str]) -> list[psutil.Process]:
    """Run the workflow, stop it with Ctrl-C while requests are sent, and return the processes that it had."""
    with subprocess.Popen(
        study.command(recipes), cwd=ROOT, env=study.environment, process_group=0, stderr=subprocess.PIPE, text=True
    ) as workflow:
        while not requests_are_sent(study):
            assert workflow.poll() is None, workflow.communicate()[1]
            time.sleep(0.2)
        processes = psutil.Process(workflow.pid).children(recursive=True)
        os.killpg(workflow.pid, signal.SIGINT)  # as a terminal does
        _, said = workflow.communicate(timeout=100)
    assert workflow.returncode != 0
    assert "Traceback" not in said
    return processes


@pytest.fixture(scope="module")
def study(fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(tmp_path_factory.mktemp("study"), fp32)


def test_a_measurement_that_was_stopped_leaves_nothing_behind_and_begins_anew(study: Study) -> None:
    processes = stop_in_mid_measurement(study, ["original", "again"])
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
    assert of_this_test(study.folder) == []
    assert not study.measurement("a").exists()
    assert not study.measurement("b").exists()
    stopped = attribution(study)
    (first,) = (job for job in stopped["jobs"] if job["rule"] == "measure")
    assert first["status"] in ("failed", "killed")
    assert all(job["status"] != "running" for job in stopped["jobs"])

    study.run(["original", "again"])
    experiment = first["wildcards"]["experiment"]
    assert study.servers("a") == ["original", "again", "original~twin"]
    assert study.servers("b") == ["original", "original~twin"]
    found = attribution(study)
    attempts = [
        job for job in found["jobs"] if job["rule"] == "measure" and job["wildcards"]["experiment"] == experiment
    ]
    assert [job["status"] for job in attempts] == [first["status"], "succeeded"]
    # What the stopped attempt took, with its servers, is waste. Nothing else was done twice.
    own = [job for job in found["jobs"] if job["id"].partition(".")[0] == first["id"]]
    assert {job["rule"] for job in own} == {"measure", "serve", "load"}
    assert {job["waste"] for job in own} == {first["status"]}
    assert found["waste_J"][first["status"]] >= sum(job["energy_J"]["value"] for job in own) > 0
    # A stand-in that has been measured is ended by a signal, too.
    others = [job for job in found["jobs"] if job not in own and job["rule"] != "serve"]
    assert {(job["status"], job["waste"]) for job in others} == {("succeeded", None)}


def test_a_recipe_that_is_added_measures_its_experiment_again_and_no_other(study: Study) -> None:
    if not study.measurement("a").exists():
        study.run(["original", "again"])
    before = study.measurement("b").read_text()
    plan = study.run(["original", "again", "added"], "--dry-run", "--printshellcmds")
    commands = re.findall(r"meter --rule (\w+) --wildcard experiment=(\w)(?: --wildcard recipe=(\w+))?", plan.stdout)
    commands += re.findall(r"meter --rule (\w+) --wildcard experiment=(\w)(?: --wildcard recipe=(\w+))?", plan.stderr)
    assert sorted(commands) == [("deploy", "a", "added"), ("evaluate", "a", "added"), ("measure", "a", "")]
    study.run(["original", "again", "added"])
    assert study.servers("a") == ["original", "again", "added", "original~twin"]
    assert study.measurement("b").read_text() == before
