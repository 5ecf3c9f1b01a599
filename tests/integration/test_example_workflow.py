"""The example of another workflow, metered as its how-to page says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hardware.simulated import PowercapTree, clean_environment
from narrowing import known

from greenllm.attribution import attribute, read_attempts

EXAMPLE = Path(__file__).parents[2] / "examples/other-workflow"
PROGRAMS = Path(sys.executable).parent


def snakemake(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = clean_environment(folder, PATH=f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}", **environment)
    del env["GREENLLM_LEDGER"]
    return subprocess.run(
        [PROGRAMS / "snakemake", "--cores", "2", *options],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture
def workflow(tmp_path):
    folder = tmp_path / "workflow"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return folder


def test_each_rules_attempts_are_metered(workflow, tmp_path):
    tree = PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda t: 40 * t)})
    with tree.running():
        done = snakemake(workflow, GREENLLM_SYSFS=str(tmp_path / "sys"), GREENLLM_RUN_ID="run-1")
    assert done.returncode == 0, done.stderr
    words = {}
    for text in ("heron", "otter"):
        counted = (workflow / f"results/{text}.counts").read_text().split()
        words[text] = len(re.findall(r"[a-z]+", (workflow / f"texts/{text}.txt").read_text().lower()))
        assert sum(map(int, counted[::2])) == words[text]  # the rule did its work, to the end of the pipe

    result = attribute(workflow / "results/ledger")
    assert sorted((job.rule, job.wildcards["text"]) for job in result.jobs) == [
        (rule, text) for rule in ("count_words", "split_evenly") for text in ("heron", "otter")
    ]
    assert {job.status for job in result.jobs} == {"succeeded"}
    (host,) = result.hosts
    (package,) = (row for row in result.device_totals(host) if row.device == "package-0")
    assert package.jobs_J > 0
    assert package.counted_J == pytest.approx(package.jobs_J + package.other_J + package.idle_J)

    attempts, _ = read_attempts(workflow / "results/ledger")
    assert {attempt.start.run_id for attempt in attempts} == {"run-1"}
    assert {attempt.parent for attempt in attempts} == {None}
    ends = [(attempt.start.job.wildcards["text"], known(attempt.end)) for attempt in attempts]
    work = {text: end.work["words"] for text, end in ends if end.work}
    assert work == words

    printed = subprocess.run(
        [PROGRAMS / "greenllm", "attribute", workflow / "results/ledger"], capture_output=True, text=True, check=True
    ).stdout
    assert printed.count("count_words") == printed.count("split_evenly") == 2


def test_a_rule_that_fails_in_a_pipe_or_has_a_very_long_command_is_metered_too(workflow):
    long = "word " * 40_000  # more than the kernel takes as one argument: Snakemake makes it a file
    with (workflow / "Snakefile").open("a") as file:
        file.write(f"""
rule broken:
    output: "broken"
    shell: "meter --rule {{rule}}; false | cat > {{output}}; touch after"

rule long:
    output: "long"
    shell: "meter --rule {{rule}}; echo {long} | wc -w > {{output}}"
""")
    done = snakemake(workflow, "--keep-going", "broken", "long")
    assert done.returncode == 1
    assert (workflow / "long").read_text().strip() == "40000"
    assert not (workflow / "after").exists()
    attempts, _ = read_attempts(workflow / "results/ledger")
    assert {attempt.start.job.rule: attempt.status for attempt in attempts} == {
        "broken": "failed",
        "long": "succeeded",
    }


def test_the_documentation_shows_the_lines_that_the_workflow_has():
    page = (EXAMPLE.parents[1] / "docs/how-to/meter-another-workflow.md").read_text()
    section = page.partition("## A Snakemake workflow")[2].partition("\n## ")[0]
    blocks = re.findall(r"```(?:python|bash)\n(.*?)```", section, re.S)
    assert len(blocks) == 3
    code = (EXAMPLE / "Snakefile").read_text() + (EXAMPLE / "scripts/split_evenly.py").read_text()
    for line in "".join(blocks).splitlines():
        assert line.strip() in ("", "...") or line in code.splitlines(), line
