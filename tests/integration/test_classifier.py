"""The article's classifier of digits, in both frameworks, from data to an answer over HTTP."""

import json
import subprocess
import sys

import httpx
import numpy as np
import pytest

from greenllm.classifier.images import images_of
from greenllm.cli import main
from greenllm.load.servers import running_server
from greenllm.study.plan import python_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    common = ["--task", "digits", "--settings"]
    assert main(["collect", *common, '{"source": "embedded"}', "--out", str(folder / "collected")]) == 0
    prepared = ["--data", str(folder / "collected"), "--out", str(folder / "prepared")]
    assert main(["preprocess", *common, "{}", *prepared]) == 0
    return folder / "prepared"


def python_for(framework):
    if framework == "pytorch":
        return sys.executable
    python = python_of("tensorflow")
    if not python.is_file():
        pytest.skip("needs TensorFlow in .venv-tensorflow (make tensorflow)")
    return str(python)


@pytest.mark.parametrize("framework", ["pytorch", "tensorflow"])
def test_it_learns_the_digits_and_serves_them(data, tmp_path, framework):
    greenllm = [python_for(framework), "-m", "greenllm"]
    recipe = json.dumps({"classifier": {"framework": framework}})
    places = ["--data", str(data), "--out", str(tmp_path / "model")]
    subprocess.run([*greenllm, "train", "--recipe", recipe, *places], check=True, capture_output=True)
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    assert framework in training["framework"].casefold()
    assert training["parameters"] == 101_770  # 784·128 + 128 + 128·10 + 10, as in the article's summary
    assert [entry["epoch"] for entry in training["loss"]] == list(range(1, 11))
    assert training["loss"][-1]["loss"] < 0.25 * training["loss"][0]["loss"]

    out, predictions = tmp_path / "evaluation.json", tmp_path / "predictions.jsonl"
    places = ["--model", str(tmp_path / "model"), "--data", str(data)]
    command = [*greenllm, "evaluate", "--task", "digits", *places, "--out", out, "--predictions", predictions]
    subprocess.run(command, check=True, capture_output=True)
    evaluation = json.loads(out.read_text())
    assert evaluation["engine"] == f"classifier-{framework}"
    assert evaluation["metrics"]["accuracy"]["value"] > 0.85  # SGD at 0.01 for 10 epochs on 1,500 images

    if framework == "pytorch":
        first = json.loads(predictions.read_text().splitlines()[0])
        with running_server([*greenllm, "serve", str(tmp_path / "model"), "--port", "0"]) as started:
            server = started()
            body = {"prompt": first["prompt"], "max_tokens": 1}
            answer = httpx.post(f"{server.url}/v1/completions", json=body).json()
            assert answer["choices"][0]["text"] == first["prediction"]
            refused = httpx.post(f"{server.url}/v1/completions", json={"prompt": "hello"})
        assert refused.status_code == 422
        assert "expected an image" in refused.text


def test_the_logits_are_not_put_through_a_second_softmax(data, tmp_path):
    from greenllm.classifier import new_network

    images = np.eye(2, 784, dtype=np.float32)
    network = new_network("pytorch", seed=1, threads=1)
    losses = []
    network.train(
        images, np.array([3, 4]), epochs=1, batch=2, learning_rate=1e-9, done=lambda epoch, loss: losses.append(loss)
    )
    logits = network.logits(images).astype(float)
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[[0, 1], [3, 4]]
    assert losses == pytest.approx([expected.mean()], rel=1e-5)


def test_images_keep_their_corners_and_levels():
    image = images_of([" ".join(["16", *["0"] * 62, "8"])]).reshape(28, 28)
    assert (image[0, 0], image[-1, -1]) == (1.0, 0.5)
    assert image[0, -1] == 0.0


def test_a_row_that_is_no_image_is_named(tmp_path, data, capfd):
    import pyarrow.parquet as pq

    table = pq.read_table(data / "train.parquet").slice(0, 2)
    pq.write_table(table.set_column(1, "prompt", [["0 1 2\n", "many\n"]]), tmp_path / "train.parquet")
    recipe = '{"classifier": {"framework": "pytorch"}}'
    assert main(["train", "--recipe", recipe, "--data", str(tmp_path), "--out", str(tmp_path / "model")]) == 2
    assert "'0 1 2\\n': expected an image: 64 numbers from 0 to 16" in capfd.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_label_that_is_no_digit_is_named(tmp_path, data, capfd):
    import pyarrow.parquet as pq

    table = pq.read_table(data / "train.parquet").slice(0, 2)
    pq.write_table(table.set_column(2, "completion", [["3", "12"]]), tmp_path / "train.parquet")
    recipe = '{"classifier": {"framework": "pytorch"}}'
    assert main(["train", "--recipe", recipe, "--data", str(tmp_path), "--out", str(tmp_path / "model")]) == 2
    assert "'12': expected a digit from 0 to 9" in capfd.readouterr().err
