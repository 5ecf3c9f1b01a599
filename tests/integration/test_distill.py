"""Recipe step distill: a student learns from a teacher, from scratch or from another model, resumed after a kill."""

import json
import shutil

import pytest
import torch
from prepared_data import train_command
from torch.distributions import Categorical, kl_divergence
from training_process import start, wait_for_checkpoint
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from greenllm.cli import main

SHAPE = {"hidden": 96, "layers": 1, "feed_forward": 64, "heads": 1}


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    assert main(train_command(data, folder)) == 0
    return folder / "model"


@pytest.fixture(scope="module")
def student(data, teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    assert main(distill(data, teacher, folder, student=SHAPE)) == 0
    return folder / "model"


def distill(data, teacher, folder, *options, epochs=3, **settings):
    recipe = {"distill": {"teacher": "large", **settings}}
    options = ("--recipe", json.dumps(recipe), "--other", f"large={teacher}", *options)
    return train_command(data, folder, *options, model=None, epochs=epochs)


def refused(capfd, command):
    assert main(command) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    return line


def report(model):
    return json.loads((model / "training.json").read_text())


def llama(vocabulary, seed):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, initializer_range=0.5, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=1,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def test_the_loss_is_that_of_the_labels_and_the_divergence_at_the_temperature():
    from greenllm.training.distillation import Distillation

    teacher, student = llama(32, seed=1), llama(20, seed=2)  # the teacher's vocabulary is padded
    batch = {
        "input_ids": torch.tensor([[3, 4, 5], [6, 7, 0]]),
        "targets": torch.tensor([[4, 5, 1], [7, 1, 0]]),
        "weights": torch.tensor([[0.2, 1.0, 1.0], [0.2, 1.0, 0.0]]),
    }
    with torch.no_grad():
        logits = student(input_ids=batch["input_ids"]).logits
        loss = Distillation(teacher, temperature=3, soft_weight=0.7)(logits, batch)
        taught = teacher(input_ids=batch["input_ids"]).logits[..., :20]
    soft = 9 * kl_divergence(Categorical(logits=taught / 3), Categorical(logits=logits / 3))
    hard = -Categorical(logits=logits).log_prob(batch["targets"])
    expected = ((0.7 * soft + 0.3 * hard) * batch["weights"]).sum() / batch["weights"].sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_smaller_student_learns(student, teacher):
    small, large = report(student), report(teacher)
    assert small["parameters"] < large["parameters"] / 5
    assert small["validation_loss"][-1]["loss"] < small["validation_loss"][0]["loss"] / 2
    config = AutoModelForCausalLM.from_pretrained(student).config
    assert (config.hidden_size, config.num_hidden_layers, config.head_dim) == (96, 1, 64)
    assert config.max_position_embeddings == 32  # as its teacher's


def test_with_soft_targets_alone_the_student_learns_the_teachers_distribution(data, teacher, tmp_path):
    """With soft_weight 1 the labels have no effect: the student learns a teacher's uniform distribution."""
    stubborn = tmp_path / "stubborn"
    shutil.copytree(teacher, stubborn)
    network = AutoModelForCausalLM.from_pretrained(teacher)
    with torch.no_grad():
        network.model.norm.weight.zero_()  # all logits are equal
    network.save_pretrained(stubborn)
    assert main(distill(data, stubborn, tmp_path, student=SHAPE, soft_weight=1, epochs=1)) == 0
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        spread = student(input_ids=torch.tensor([[4, 5, 6, 3]])).logits.log_softmax(-1)[0, -1]
    assert (spread.max() - spread.min()).item() < 0.5


def test_the_teachers_passes_are_counted(data, teacher, tmp_path):
    """With a student of the same size, the teacher's forward pass adds a third to forward and backward."""
    assert main(distill(data, teacher, tmp_path, student="tiny", epochs=3)) == 0
    assert report(tmp_path / "model")["flops"] / report(teacher)["flops"] == pytest.approx(4 / 3, rel=0.01)


def test_a_student_that_starts_from_a_model(data, teacher, student, tmp_path):
    assert main(distill(data, teacher, tmp_path, "--from", str(student), epochs=1)) == 0
    further, before = report(tmp_path / "model"), report(student)
    assert further["parameters"] == before["parameters"]
    assert further["validation_loss"][0]["loss"] < before["validation_loss"][0]["loss"] / 2


def test_a_killed_distillation_resumes_with_the_same_teacher_only(data, teacher, student, tmp_path):
    killed = start(distill(data, teacher, tmp_path, student=SHAPE))
    wait_for_checkpoint(killed)
    killed.kill()
    killed.wait()
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "checkpoints", other / "checkpoints")

    assert main(distill(data, teacher, tmp_path, student=SHAPE)) == 0
    assert report(tmp_path / "model")["resumed_from_step"]
    weights = (tmp_path / "model" / "model.safetensors").read_bytes()
    assert weights == (student / "model.safetensors").read_bytes()
    assert main(distill(data, student, other, student=SHAPE)) == 0
    assert report(other / "model")["resumed_from_step"] is None


def test_a_teacher_with_another_tokenizer_is_refused(data, teacher, tmp_path, capfd):
    foreign = tmp_path / "foreign"
    shutil.copytree(teacher, foreign)
    file = foreign / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    file.write_text(json.dumps(tokenizer))  # other bytes, the same tokens
    assert main(distill(data, foreign, tmp_path, student=SHAPE, epochs=0.1)) == 0
    shutil.rmtree(tmp_path / "model")
    red, blue = tokenizer["model"]["vocab"]["red"], tokenizer["model"]["vocab"]["blue"]
    tokenizer["model"]["vocab"] |= {"red": blue, "blue": red}
    file.write_text(json.dumps(tokenizer))
    said = refused(capfd, distill(data, foreign, tmp_path, student=SHAPE))
    assert (
        f"distill.teacher: {foreign} has another tokenizer than the data in {data} (17 and 17 tokens, 15 in common"
        in said
    )
    file.unlink()
    assert f"{file}: no such file" in refused(capfd, distill(data, foreign, tmp_path, student=SHAPE))
    assert not (tmp_path / "model").exists()


def test_what_does_not_fit_is_named(data, teacher, tmp_path, capfd):
    recipe = json.dumps({"distill": {"teacher": "large"}})
    missing = train_command(data, tmp_path, "--recipe", recipe, model=None)
    assert "--other large=FOLDER: is missing" in refused(capfd, missing)
    assert "expected tiny, small, base, or a shape" in refused(capfd, distill(data, teacher, tmp_path, student="huge"))
    narrow = distill(data, teacher, tmp_path, student={"hidden": 100})
    assert "distill.student" in refused(capfd, narrow)
    assert "multiple of 32" in refused(capfd, narrow)
    short = tmp_path / "short"
    shutil.copytree(teacher, short)
    config = json.loads((short / "config.json").read_text())
    (short / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 16}))
    said = refused(capfd, distill(data, short, tmp_path, "--from", str(teacher)))
    assert "distill.teacher: its context of 16 tokens is shorter than the student's of 32" in said
