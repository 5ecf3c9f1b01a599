"""The documented example of a new task, followed word for word."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_models import make_fp32

import greenllm
from greenllm.tasks import TASKS, Task

PACKAGE = Path(greenllm.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = (DOCS / "how-to/own-task.md").read_text()


@pytest.fixture
def package(tmp_path):
    """Runs Python with a copy of the package into which the example was put."""
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE, re.DOTALL)
    (file,) = re.findall(r"`workflow/greenllm/(tasks/\w+\.py)`:", EXAMPLE)
    shutil.copytree(PACKAGE, tmp_path / "greenllm", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "greenllm" / file).write_text(code)

    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *command], env=environment, cwd=tmp_path, check=True)

    return run


def test_a_file_and_a_few_lines_of_configuration_are_a_task(tmp_path, package):
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE, re.DOTALL)
    (configuration,) = re.findall(r"```yaml\n(.*?)```", EXAMPLE, re.DOTALL)
    assert len((code + configuration).splitlines()) <= 40

    (tmp_path / "study.yaml").write_text(configuration)
    check = "import yaml; from greenllm.checks.study import check_config; check_config({}, 'study.yaml')"
    package("-c", check.format("yaml.safe_load(open('study.yaml'))"))

    experiment = yaml.safe_load(configuration)["experiments"]["numerals"]
    task = ["-m", "greenllm", "{}", "--task", experiment["task"]]

    def stage(name, *options):
        package(*(word.format(name) for word in task), *options)

    stage("collect", "--settings", json.dumps(experiment["data"]), "--out", "collected")
    model = str(make_fp32(tmp_path / "model"))
    stage("preprocess", "--settings", "{}", "--data", "collected", "--model", model, "--out", "prepared")
    evaluation = ["--settings", '{"rows": 20, "max_tokens": 4, "bootstrap": 100}', "--device", "cpu"]
    files = ["--out", "evaluation.json", "--predictions", "predictions.jsonl"]
    stage("evaluate", *evaluation, "--data", "prepared", "--model", model, *files)

    evaluated = json.loads((tmp_path / "evaluation.json").read_text())
    assert (evaluated["task"], evaluated["examples"]) == ("roman-numerals", 20)
    assert set(evaluated["metrics"]) == set(Task.metrics)
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert all(
        re.fullmatch(r"\d+\n", line["prompt"]) and re.fullmatch("[MDCLXVI]+", line["completion"]) for line in lines
    )
    rows = json.loads((tmp_path / "prepared" / "report.json").read_text())["rows"]
    assert (rows["collected"], rows["bad"]) == (3999, 0)


def test_each_task_has_its_row_in_the_table():
    table, _, _ = (DOCS / "reference/tasks.md").read_text().partition("\n## ")
    rows = re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)
    assert sorted(rows) == sorted(TASKS)
