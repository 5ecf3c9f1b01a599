"""The commands that Snakemake prints for a study, against stored ones: a change of the rules shows what it changes.

After an intended change, renew the stored files and read their difference:

    .venv/bin/python tests/integration/test_commands.py && git diff --word-diff tests/integration/commands
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).with_name("commands")
STUDIES = {
    "tiny.txt": ROOT / "config/tiny.yaml",
    "odd.txt": STORED / "odd.yaml",
    "device.txt": STORED / "device.yaml",
}


def printed(folder: Path, study: Path) -> str:
    """Return the commands of all jobs of a study without results, sorted, one a line.

    Paths are relative to the folder, which is empty at first. A GPU of the host changes nothing.
    """
    (folder / "my data").mkdir()
    (folder / "my data/it's mine.csv").touch()
    program = str(Path(sys.executable).with_name("snakemake"))
    place = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--configfile", str(study)]
    command = [program, *place, "--cores", "8", "--dry-run", "--printshellcmds"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = re.findall(r"^Shell command: ((?:printf .*; )?meter .*\n)", done.stdout + done.stderr, re.MULTILINE)
    return "".join(sorted(commands))


@pytest.mark.parametrize("stored", STUDIES)
def test_the_rules_print_the_stored_commands(tmp_path: Path, stored: str) -> None:
    assert printed(tmp_path, STUDIES[stored]).splitlines() == (STORED / stored).read_text().splitlines()


if __name__ == "__main__":
    for name, path in STUDIES.items():
        with tempfile.TemporaryDirectory() as empty:
            (STORED / name).write_text(printed(Path(empty), path))
