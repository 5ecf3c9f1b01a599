"""The nodes of a SLURM job: programs answer in place of SLURM's. On a real cluster: tests/slurm/test_slurm_nodes.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from narrowing import known

from greenllm.cluster.job_nodes import launcher_of
from greenllm.errors import UserError

Answer = Callable[[str], None]


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Sets the lines of squeue: `job|nodes`, as SLURM lists them for this job, whose number is 3."""
    monkeypatch.setenv("PATH", f"{tmp_path}", prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    monkeypatch.setenv("SLURMD_NODENAME", "b2")

    def answer(lines: str) -> None:
        for name, script in {"squeue": f"echo '{lines}'", "scontrol": 'echo "$3" | tr , "\\n"'}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)

    return answer


@pytest.mark.parametrize("lines", ["3|b1,b2", "4|a1,a2\n3|b1,b2\n5|c1,c2"], ids=["alone", "last task of an array"])
def test_a_jobs_nodes_are_its_own_and_the_first_is_that_of_this_process(squeue: Answer, lines: str) -> None:
    squeue(lines)
    assert known(launcher_of()).names() == ["b2", "b1"]


def test_a_job_that_slurm_does_not_list_has_no_nodes(squeue: Answer) -> None:
    squeue("")
    assert known(launcher_of()).names() == []


def test_without_slurms_commands_on_the_node_one_line_says_so(squeue: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"^squeue: not on the path; "):
        known(launcher_of()).names()
