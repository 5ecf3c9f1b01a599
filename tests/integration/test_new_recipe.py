"""The documented example of a new recipe, followed word for word."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from tiny_models import make_fp32
from transformers import AutoModelForCausalLM, Qwen2Config

import greenllm
from greenllm.engines import load_engine
from greenllm.recipes import STEPS

PACKAGE = Path(greenllm.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"


def test_a_file_and_a_line_of_configuration_are_a_recipe(tmp_path):
    example = (DOCS / "how-to/own-recipe.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", example, re.DOTALL)
    (configuration,) = re.findall(r"```yaml\n(.*?)```", example, re.DOTALL)
    (file,) = re.findall(r"`workflow/greenllm/(recipes/\w+\.py)`:", example)
    assert len((code + configuration).splitlines()) <= 40

    shutil.copytree(PACKAGE, tmp_path / "greenllm", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "greenllm" / file).write_text(code)
    parent = make_fp32(tmp_path / "parent")

    def compress(recipe):
        command = ["compress", "--recipe", json.dumps(recipe), "--from", str(parent), "--out", str(tmp_path / "out")]
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
        done = [sys.executable, "-m", "greenllm", *command]
        return subprocess.run(done, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    recipe = yaml.safe_load(configuration)["recipes"]["shallow"]
    done = compress(recipe)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 2
    assert load_engine(tmp_path / "out", threads=1, device="cpu").generate(["x\n"], 4)[0].tokens == 4
    # Some architectures list a type for each layer, which then has to fit the number of layers.
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    qwen = AutoModelForCausalLM.from_config(Qwen2Config(vocab_size=600, num_hidden_layers=3, **shape))
    qwen.save_pretrained(parent)
    done = compress(recipe)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_hidden_layers"] == 1
    done = compress(recipe | {"drop_last": {"layers": 9}})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("drop_last.layers: 9 leaves no layer; expected fewer")


def test_each_step_has_its_row_in_the_table():
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "reference/recipes.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(STEPS)
