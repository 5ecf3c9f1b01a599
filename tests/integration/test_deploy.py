"""`greenllm deploy`: a bundle that serves a model by itself."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import openai
from deploying import make_bundle


def test_the_bundle_serves_by_itself_and_says_what_it_is(fp32: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    model = tmp_path / "model"
    shutil.copytree(fp32, model)
    (model / "pytorch_model.bin").write_bytes(b"a pickle")
    done = make_bundle(model, "int8", tmp_path)
    assert done.returncode == 0, done.stderr
    bundle = tmp_path / "bundle"
    shutil.rmtree(model)
    assert not (bundle / "pytorch_model.bin").exists()
    card = ModelCard.load(bundle / "README.md")
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.eval_results[0].metric_value == 0.9
    assert "customer-service" in card.content
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    serve = [str(bundle / "serve"), "--port", "0", "--threads", "1"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=os.environ | {"PATH": path}) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
            assert [listed.id for listed in client.models.list()] == ["support-int8-1"]
        finally:
            process.terminate()
        assert process.wait(30) == 0


def test_the_same_model_makes_the_same_bundle(int8: Path, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        assert make_bundle(int8, "int8", tmp_path).returncode == 0
        files = sorted((tmp_path / "bundle").iterdir())
        contents.append([(file.name, file.read_bytes()) for file in files])
    assert contents[0] == contents[1]


def test_a_bundle_is_not_made_in_the_place_of_the_users_files(int8: Path, tmp_path: Path) -> None:
    own = tmp_path / "bundle/own.txt"
    own.parent.mkdir()
    own.write_text("mine")
    done = make_bundle(int8, "int8", tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert own.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
