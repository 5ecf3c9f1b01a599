"""Both engines on real models with random weights: a prompt has one answer, alone or in any batch."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import CONTEXT, PROMPTS, make_gpt2
from tokenizers import Tokenizer

from greenllm.engines import Engine, Likelihood, Prompt, PromptError, PromptTooLong, ScoresTexts, load_engine
from greenllm.errors import UserError


@pytest.fixture(scope="module")
def engine(model: Path) -> Engine:
    return load_engine(model, threads=1, device="cpu")


def test_a_batch_of_different_lengths_is_answered_like_each_prompt_alone(engine: Engine) -> None:
    alone = [engine.generate([prompt], 12)[0] for prompt in PROMPTS]
    assert engine.generate(PROMPTS, 12) == alone
    assert len({answer.text for answer in alone}) > 1


def test_a_batch_larger_than_the_library_allows_is_answered_completely(engine: Engine) -> None:
    prompts = [f"{number}\n" for number in range(40)]
    answers = engine.generate(prompts, 4)
    assert [answer.prompt_tokens for answer in answers] == [engine.count_tokens(prompt) for prompt in prompts]
    assert answers[39] == engine.generate(prompts[39:], 4)[0]


def test_an_answer_does_not_depend_on_earlier_answers(model: Path) -> None:
    engine = load_engine(model, threads=1, device="cpu")
    for prompts in (PROMPTS[:1], PROMPTS[1:2], PROMPTS[:2], PROMPTS[1:3], PROMPTS[2:3]):
        fresh = load_engine(model, threads=1, device="cpu")
        assert engine.generate(prompts, 12, confidence=True) == fresh.generate(prompts, 12, confidence=True)
        if isinstance(engine, ScoresTexts) and isinstance(fresh, ScoresTexts):
            assert engine.score(prompts) == fresh.score(prompts)


def test_the_baseline_answers_as_generate_of_transformers(fp32: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(fp32)
    reference: Any = AutoModelForCausalLM.from_pretrained(fp32)
    answers = load_engine(fp32, threads=1).generate(PROMPTS, 10)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        generated = reference.generate(**ids, max_new_tokens=10, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert answer.text == tokenizer.decode(generated, skip_special_tokens=True)
        assert answer.prompt_tokens == ids["input_ids"].shape[1]


def test_confidence_is_the_probability_of_the_answers_tokens(fp32: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    engine = load_engine(fp32, threads=1)
    tokenizer = Tokenizer.from_file(str(fp32 / "tokenizer.json"))
    reference: Any = AutoModelForCausalLM.from_pretrained(fp32)
    for prompt, answer in zip(PROMPTS, engine.generate(PROMPTS, 3, confidence=True), strict=True):
        ids, expected = tokenizer.encode(prompt).ids, 1.0
        for _ in range(answer.tokens):
            with torch.inference_mode():
                probabilities = reference(torch.tensor([ids])).logits[0, -1].softmax(-1)
            expected *= float(probabilities.max())
            ids.append(int(probabilities.argmax()))
        assert answer.confidence == pytest.approx(expected, rel=1e-3)


def test_confidence_counts_the_end_token(fp32: Path, tmp_path: Path) -> None:
    prompt, end = _prompt_with_a_plain_third_token(fp32)[::2]
    ended = load_engine(_with_end_token(fp32, tmp_path / "model", end), threads=1, device="cpu")
    whole = load_engine(fp32, threads=1, device="cpu")
    (stopped,), (plain,) = (engine.generate([prompt], 3, confidence=True) for engine in (ended, whole))
    assert (stopped.finish_reason, plain.finish_reason) == ("stop", "length")
    assert stopped.confidence == pytest.approx(plain.confidence)


def test_confidence_changes_no_answer_and_does_not_depend_on_the_batch(engine: Engine) -> None:
    plain, sure = engine.generate(PROMPTS, 12), engine.generate(PROMPTS, 12, confidence=True)
    assert [replace(answer, confidence=None) for answer in sure] == plain
    assert {answer.confidence for answer in plain} == {None}
    for prompt, answer in zip(PROMPTS, sure, strict=True):
        assert answer.confidence is not None
        assert 0 < answer.confidence < 1
        alone = engine.generate([prompt], 12, confidence=True)[0]
        assert alone.confidence == pytest.approx(answer.confidence, rel=0.01)


def test_int8_is_about_as_confident_as_fp32(fp32: Path, int8: Path) -> None:
    plain, quantised = (load_engine(path, threads=1).generate(PROMPTS, 1, confidence=True) for path in (fp32, int8))
    for one, other in zip(plain, quantised, strict=True):
        assert other.confidence == pytest.approx(one.confidence, rel=0.2)


def _nats_of(folder: Path, ids: list[int]) -> float:
    """-log p of all tokens but the first, as transformers computes it in its loss."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.inference_mode():
        given = torch.tensor([ids])
        loss = AutoModelForCausalLM.from_pretrained(folder)(given, labels=given).loss
    return float(loss) * (len(ids) - 1)


def test_a_texts_likelihood_is_that_of_all_its_tokens_but_the_first(fp32: Path) -> None:
    tokenizer = Tokenizer.from_file(str(fp32 / "tokenizer.json"))
    for text, found in zip(PROMPTS, scoring_engine(fp32).score(PROMPTS), strict=True):
        ids = tokenizer.encode(text).ids
        assert found.nats == pytest.approx(_nats_of(fp32, ids), rel=1e-4)
        assert found.tokens == len(ids) - 1
        assert found.bytes == len(text.encode()) - len(tokenizer.decode(ids[:1]).encode())


def test_a_text_longer_than_the_context_is_scored_in_windows(fp32: Path) -> None:
    text = PROMPTS[-1] * 8
    ids = Tokenizer.from_file(str(fp32 / "tokenizer.json")).encode(text).ids
    assert len(ids) > 2 * CONTEXT
    windows = [ids[start : start + CONTEXT] for start in range(0, len(ids), CONTEXT - 1)]
    found = scoring_engine(fp32).score([text])[0]
    assert found.tokens == len(ids) - 1
    assert found.nats == pytest.approx(sum(_nats_of(fp32, window) for window in windows), rel=1e-4)


def test_a_likelihood_does_not_depend_on_other_texts(model: Path) -> None:
    engine = scoring_engine(model)
    texts = [*PROMPTS, "x", "", PROMPTS[-1] * 8]
    together = engine.score(texts * 5)
    for text, found in zip(texts, together[-len(texts) :], strict=True):
        alone = engine.score([text])[0]
        assert (found.tokens, found.bytes) == (alone.tokens, alone.bytes)
        assert found.nats == pytest.approx(alone.nats, rel=1e-3)
    assert engine.score(["x", ""]) == [Likelihood(0, 0, 0)] * 2


def test_a_text_given_as_token_ids_is_scored_by_them(fp32: Path) -> None:
    engine, tokenizer = scoring_engine(fp32), Tokenizer.from_file(str(fp32 / "tokenizer.json"))
    ids = [tokenizer.encode(text).ids for text in PROMPTS]
    by_ids = engine.score([Prompt(text, one) for text, one in zip(PROMPTS, ids, strict=True)])
    for one, other in zip(engine.score(PROMPTS), by_ids, strict=True):
        assert (one.tokens, one.bytes) == (other.tokens, other.bytes)
        assert one.nats == pytest.approx(other.nats, rel=1e-4)
    (special,) = engine.score([Prompt(f"<eos>{PROMPTS[0]}", [1, *ids[0]])])
    assert special.nats == pytest.approx(_nats_of(fp32, [1, *ids[0]]), rel=1e-4)


def test_int8_finds_texts_about_as_likely_as_fp32(fp32: Path, int8: Path) -> None:
    texts = [*PROMPTS, PROMPTS[-1] * 8]
    for one, other in zip(scoring_engine(fp32).score(texts), scoring_engine(int8).score(texts), strict=True):
        assert (other.tokens, other.bytes) == (one.tokens, one.bytes)
        assert other.nats == pytest.approx(one.nats, rel=0.05)


def scoring_engine(path: Path) -> ScoresTexts:
    engine = load_engine(path, threads=1, device="cpu")
    assert isinstance(engine, ScoresTexts)
    return engine


def test_each_prompt_has_its_own_limit(engine: Engine) -> None:
    limits = [1 + 3 * index for index in range(len(PROMPTS))]
    answers = engine.generate(PROMPTS, limits)
    assert [answer.tokens for answer in answers] == limits
    assert {answer.finish_reason for answer in answers} == {"length"}
    assert answers == [engine.generate([p], limit)[0] for p, limit in zip(PROMPTS, limits, strict=True)]


def test_an_answer_ends_with_the_context_also_beside_a_longer_prompt(engine: Engine) -> None:
    long = PROMPTS[-1] * 2
    assert CONTEXT - engine.count_tokens(long) < CONTEXT - engine.count_tokens(PROMPTS[0])
    for asked in (40, 1000):
        together = engine.generate([long, PROMPTS[0]], asked)
        for prompt, answer in zip([long, PROMPTS[0]], together, strict=True):
            assert answer.tokens == min(asked, CONTEXT - answer.prompt_tokens)
            # After some dozens of tokens, rounding may change an answer, because the weights are noise.
            assert answer.text[:20] == engine.generate([prompt], asked)[0].text[:20]


def test_an_answer_that_ends_with_the_context_leaves_a_longer_one_of_learned_positions(tmp_path: Path) -> None:
    engine = load_engine(make_gpt2(tmp_path), threads=1, device="cpu")
    ids = [10 + index for index in range(CONTEXT)]
    prompts = [Prompt("long", ids[: CONTEXT - 4]), Prompt("short", ids[:4])]
    alone = [engine.generate([prompt], 50)[0] for prompt in prompts]
    assert [answer.tokens for answer in alone] == [4, 50]
    assert [answer.tokens for answer in engine.generate(prompts, 50)] == [4, 50]


def test_the_pieces_while_generating_join_to_the_answer(engine: Engine) -> None:
    text_so_far = [""] * len(PROMPTS)

    def on_token(index: int, text: str) -> None:
        text_so_far[index] += text

    answers = engine.generate(PROMPTS, 25, on_token)
    assert text_so_far == [answer.text for answer in answers]


def test_an_end_token_ends_an_answer_and_is_no_text(model: Path, tmp_path: Path) -> None:
    # Declare a token of a known answer to be the end token.
    prompt, text_so_far, end = _prompt_with_a_plain_third_token(model)
    engine = load_engine(_with_end_token(model, tmp_path / "model", end), threads=1, device="cpu")
    answer, other = engine.generate([prompt, PROMPTS[-1]], 20)
    assert (answer.finish_reason, answer.tokens, answer.text) == ("stop", 3, text_so_far)
    assert other == engine.generate([PROMPTS[-1]], 20)[0]


def _with_end_token(folder: Path, copy: Path, end: int) -> Path:
    """Copy a model folder, and declare a further token to be the end token."""
    shutil.copytree(folder, copy)
    for name, section in (("generation_config.json", None), ("config.json", None), ("genai_config.json", "model")):
        if (copy / name).is_file():
            config = json.loads((copy / name).read_text())
            (config[section] if section else config)["eos_token_id"] = [1, end]
            (copy / name).write_text(json.dumps(config))
    return copy


def _prompt_with_a_plain_third_token(model: Path) -> tuple[str, str, int]:
    """A prompt, the text of its answer's first two tokens, and the id of the third, which differs from those."""
    engine = load_engine(model, threads=1, device="cpu")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    ids = {tokenizer.decode([token]): token for token in range(3, tokenizer.get_vocab_size())}
    for prompt in PROMPTS:
        pieces: list[str] = []
        engine.generate([prompt], 3, lambda index, text, pieces=pieces: pieces.append(text))  # type: ignore[misc]
        if len(pieces) == 3 and "\ufffd" not in "".join(pieces) and pieces[2] not in pieces[:2] and pieces[2] in ids:
            return prompt, "".join(pieces[:2]), ids[pieces[2]]
    raise AssertionError("no prompt whose answer begins with three whole characters; choose other test texts")


def test_a_cancelled_answer_is_cut_short_and_the_others_are_not(engine: Engine) -> None:
    cut, whole = engine.generate(PROMPTS[:2], 30, None, lambda index: index == 0)
    assert cut.tokens == 1
    assert whole == engine.generate([PROMPTS[1]], 30)[0]


def test_a_prompt_may_spell_special_tokens(engine: Engine) -> None:
    prompts = [f"the <pad><pad> token, <eos> and <unk>: {PROMPTS[0]}", PROMPTS[-1]]
    assert engine.generate(prompts, 12) == [engine.generate([prompt], 12)[0] for prompt in prompts]
    plain = engine.generate([prompts[0].replace("<eos>", "<eoss>")], 12)[0]
    assert engine.generate(prompts[:1], 12)[0].prompt_tokens == plain.prompt_tokens - 1


def test_a_prompt_may_hold_special_tokens_by_their_ids(fp32: Path, int8: Path) -> None:
    tokenizer = Tokenizer.from_file(str(fp32 / "tokenizer.json"))
    prompts = [Prompt("", tokenizer.encode(prompt.replace(" ", "<pad>")).ids) for prompt in PROMPTS]
    assert all(0 in prompt.ids for prompt in prompts[:6])  # the library itself reads them as special
    assert _first_texts(fp32, prompts) == _first_texts(int8, prompts)
    together = load_engine(int8, threads=1).generate(prompts, 8)
    assert [answer.prompt_tokens for answer in together] == [len(prompt.ids) for prompt in prompts]
    assert together == [load_engine(int8, threads=1).generate([prompt], 8)[0] for prompt in prompts]


def _first_texts(model: Path, prompts: Sequence[str]) -> list[str]:
    return [answer.text for answer in load_engine(model, threads=1, device="cpu").generate(prompts, 1)]


def test_a_prompt_that_fills_the_context_is_refused(engine: Engine) -> None:
    with pytest.raises(PromptTooLong, match=f"context of {CONTEXT} tokens"):
        engine.generate([PROMPTS[0], "word " * CONTEXT], 4)


def test_an_empty_prompt_is_refused(engine: Engine) -> None:
    with pytest.raises(PromptError, match="empty"):
        engine.generate([""], 4)


def test_without_prompts_there_are_no_answers(engine: Engine) -> None:
    assert engine.generate([], 4) == []


def test_a_chat_of_one_message_is_the_prompt_of_that_text(engine: Engine) -> None:
    prompt = engine.chat_prompt([{"role": "user", "content": "Where is my card?"}])
    assert prompt == "Where is my card?\n"


def test_the_onnx_engine_imports_neither_torch_nor_transformers(int8: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from greenllm.engines import load_engine\n"
        "print(load_engine(Path(sys.argv[1]), threads=1).generate(['x'], 2)[0].tokens)\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(int8)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["2", "[]"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "neither greenllm.json nor config.json"),
        ("{", "greenllm.json"),
        ('{"schema": "greenllm/model/1", "engine": "vllm"}', "engine"),
        ('{"schema": "greenllm/model/2"}', "schema"),
        ('{"schema": "greenllm/model/1", "engine": "onnxruntime-genai"}', "genai_config.json"),
    ],
)
def test_what_is_not_a_model_is_reported_in_one_line(tmp_path: Path, content: str | None, expected: str) -> None:
    if content:
        (tmp_path / "greenllm.json").write_text(content)
    with pytest.raises(UserError, match=expected) as caught:
        load_engine(tmp_path, threads=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0, 0.5])
def test_weights_that_are_not_whole_are_reported_in_one_line(model: Path, tmp_path: Path, share: float) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    weights = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    os.truncate(weights, int(weights.stat().st_size * share))
    with pytest.raises(UserError, match="cannot be loaded by") as caught:
        load_engine(folder, threads=1, device="cpu")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_loaded(fp32: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(fp32, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights are never loaded"):
        load_engine(folder, threads=1, device="cpu")


def test_requiring_a_gpu_fails_without_one(fp32: Path, int8: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a host without a GPU")
    for folder in (fp32, int8):
        with pytest.raises(UserError, match="require"):
            load_engine(folder, threads=1, device="require")


def test_a_leased_gpu_that_cannot_be_used_is_reported(fp32: Path, monkeypatch, capfd) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("needs a host without a GPU")
    load_engine(fp32, threads=1, device="auto")
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # as the meter sets it for a leased GPU
    load_engine(fp32, threads=1, device="auto")
    assert "computes on the CPU, and leaves its GPU idle: PyTorch" in capfd.readouterr().err
