"""Sampled answers, stop strings and log probabilities, by both engines and over HTTP."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from serving_fixtures import serving
from tiny_models import PROMPTS

from greenllm.engines import Engine, ScoresTexts, ScoresTokens, load_engine
from greenllm.engines.decoding_choice import Decoding, ScoredText


@pytest.fixture(scope="module")
def engine(model: Path) -> Engine:
    return load_engine(model, threads=1, device="cpu")


def test_a_sampled_answer_depends_on_its_seed_not_on_its_batch(engine: Engine) -> None:
    decodings = [Decoding(temperature=0.8, top_p=0.9, seed=seed) for seed in range(len(PROMPTS))]
    together = engine.generate(PROMPTS, 12, decodings=decodings)
    alone = [engine.generate([p], 12, decodings=[d])[0] for p, d in zip(PROMPTS, decodings, strict=True)]
    assert together == alone
    greedy = engine.generate(PROMPTS, 12)
    assert together != greedy
    mixed = engine.generate(PROMPTS, 12, decodings=[decodings[0], *[Decoding()] * (len(PROMPTS) - 1)])
    assert mixed == [together[0], *greedy[1:]]
    same = engine.generate([PROMPTS[0]] * 8, 12, decodings=[Decoding(temperature=0.8, seed=-n) for n in range(8)])
    assert len({answer.text for answer in same}) > 1


def test_a_nucleus_of_one_token_is_greedy(engine: Engine) -> None:
    nucleus = [Decoding(temperature=2, top_p=0)] * len(PROMPTS)
    assert engine.generate(PROMPTS, 12, decodings=nucleus) == engine.generate(PROMPTS, 12)


def test_an_answer_ends_before_a_stop_string_and_a_stream_never_shows_a_part_of_it(engine: Engine) -> None:
    (whole,) = engine.generate(PROMPTS[:1], 12)
    stop = whole.text[5:8]
    pieces: list[str] = []
    decoding = Decoding(stop=("not said", stop), alternatives=0)
    (cut,) = engine.generate(PROMPTS[:1], 12, lambda index, piece: pieces.append(piece), decodings=[decoding])
    assert cut.text == "".join(pieces) == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.tokens < whole.tokens
    assert cut.scored is not None
    streamed = [token for piece in pieces if isinstance(piece, ScoredText) for token in piece.tokens]
    assert tuple(streamed) == cut.scored
    (held,) = engine.generate(PROMPTS[:1], 12, decodings=[Decoding(stop=(f"{whole.text}, but longer",))])
    assert held.text == whole.text


def test_log_probabilities_are_those_of_the_text(engine: Engine) -> None:
    assert isinstance(engine, ScoresTokens)
    assert isinstance(engine, ScoresTexts)
    answers = engine.generate(PROMPTS, 8, confidence=True, decodings=[Decoding(alternatives=3)] * len(PROMPTS))
    assert [answer.text for answer in answers] == [answer.text for answer in engine.generate(PROMPTS, 8)]
    for answer in answers:
        assert answer.scored is not None
        assert answer.confidence is not None
        total = sum(token.log_probability or 0 for token in answer.scored)
        assert total == pytest.approx(math.log(answer.confidence), rel=1e-4)
        for token in answer.scored:
            assert token.alternatives[0][1] == token.log_probability  # greedy
            assert [one for _, one in token.alternatives] == sorted(
                (one for _, one in token.alternatives), reverse=True
            )
    for prompt, scored, likelihood in zip(PROMPTS, engine.score_tokens(PROMPTS, 1), engine.score(PROMPTS), strict=True):
        assert scored.text == "".join(token.token for token in scored.tokens) == prompt
        assert scored.tokens[0].log_probability is None
        assert [prompt[token.begins :].startswith(token.token) for token in scored.tokens] == [True] * len(
            scored.tokens
        )
        nats = -sum(token.log_probability or 0 for token in scored.tokens)
        assert nats == pytest.approx(likelihood.nats, rel=1e-5)


def test_an_answer_may_go_on_after_the_end_token(fp32: Path, tmp_path: Path) -> None:
    import json
    import shutil

    (plain,) = load_engine(fp32, threads=1, device="cpu").generate(PROMPTS[:1], 1, decodings=[Decoding(alternatives=1)])
    folder = tmp_path / "model"
    shutil.copytree(fp32, folder)
    engine = load_engine(fp32, threads=1, device="cpu")
    (first,) = engine.text.tokenizer.encode(plain.text).ids[:1]  # type: ignore[attr-defined]
    for name in ("generation_config.json", "config.json"):
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**settings, "eos_token_id": first}))
    ended = load_engine(folder, threads=1, device="cpu")
    assert ended.generate(PROMPTS[:1], 6)[0].tokens == 1
    (going,) = ended.generate(PROMPTS[:1], 6, decodings=[Decoding(ignore_end=True)])
    assert (going.tokens, going.finish_reason) == (6, "length")


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[openai.OpenAI]:
    with serving(model, "--name", "tiny") as (_, url):
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


SAMPLED: dict[str, Any] = {"model": "tiny", "temperature": 1, "seed": 5, "max_tokens": 8}
CHAT: Any = [{"role": "user", "content": PROMPTS[0]}]


def test_several_prompts_and_answers_come_in_their_order(client: openai.OpenAI) -> None:
    alone = [
        client.completions.create(prompt=prompt, **{**SAMPLED, "seed": seed}).choices[0].text
        for prompt in PROMPTS[:2]
        for seed in (5, 6)
    ]
    together = client.completions.create(prompt=PROMPTS[:2], n=2, best_of=2, **SAMPLED)
    assert [choice.text for choice in together.choices] == alone
    assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
    single = [client.completions.create(prompt=prompt, model="tiny", max_tokens=1) for prompt in PROMPTS[:2]]
    assert together.usage is not None
    assert together.usage.prompt_tokens == sum(one.usage.prompt_tokens for one in single if one.usage)
    assert together.usage.completion_tokens == 32
    chunks = list(client.completions.create(prompt=PROMPTS[:2], n=2, stream=True, **SAMPLED))
    texts, ends = dict.fromkeys(range(4), ""), []
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.text
        ends += [choice.index] if choice.finish_reason else []
    assert list(texts.values()) == alone
    assert sorted(ends) == [0, 1, 2, 3]


def test_a_chat_has_the_log_probabilities_of_its_tokens_whole_and_as_a_stream(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {**SAMPLED, "messages": CHAT, "n": 2, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked)
    assert len({choice.message.content for choice in whole.choices}) == 2
    parts: dict[int, list] = {0: [], 1: []}
    for chunk in client.chat.completions.create(stream=True, **asked):
        for choice in chunk.choices:
            parts[choice.index] += (choice.logprobs and choice.logprobs.content) or []
    for choice in whole.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert len(choice.logprobs.content) == 8
        assert [part.model_dump() for part in parts[choice.index]] == [
            token.model_dump() for token in choice.logprobs.content
        ]
        for token in choice.logprobs.content:
            assert token.logprob <= 0
            assert len(token.top_logprobs) == 2
            assert token.bytes in (None, list(token.token.encode()))


def test_a_prompt_is_echoed_with_its_log_probabilities(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "prompt": PROMPTS[0], "echo": True, "logprobs": 1}
    read = client.completions.create(max_tokens=0, **asked)
    assert read.choices[0].text == PROMPTS[0]
    assert read.usage is not None
    assert read.usage.completion_tokens == 0
    known = read.choices[0].logprobs
    assert known is not None
    assert known.token_logprobs is not None
    assert known.top_logprobs is not None
    assert known.token_logprobs[0] is known.top_logprobs[0] is None
    assert len(known.token_logprobs) == read.usage.prompt_tokens
    more = client.completions.create(max_tokens=3, **asked)
    answer = client.completions.create(model="tiny", prompt=PROMPTS[0], max_tokens=3)
    assert more.choices[0].text == PROMPTS[0] + answer.choices[0].text
    longer = more.choices[0].logprobs
    assert longer is not None
    assert longer.token_logprobs is not None
    assert longer.text_offset is not None
    assert longer.token_logprobs[: len(known.token_logprobs)] == known.token_logprobs
    assert longer.text_offset[len(known.token_logprobs)] == len(PROMPTS[0])
    streamed = list(client.completions.create(max_tokens=3, stream=True, **asked))
    assert "".join(choice.text for chunk in streamed for choice in chunk.choices) == more.choices[0].text
    plain = client.completions.create(model="tiny", prompt=PROMPTS[0], max_tokens=3, echo=True)
    assert plain.choices[0].text == more.choices[0].text
    assert plain.choices[0].logprobs is None


def test_a_streamed_chat_stops_before_a_stop_string(client: openai.OpenAI) -> None:
    said = client.chat.completions.create(model="tiny", messages=CHAT, max_tokens=12).choices[0].message.content
    assert said is not None
    stop = said[4:7]
    chunks = list(
        client.chat.completions.create(model="tiny", messages=CHAT, max_tokens=12, stop=[stop, "x" * 50], stream=True)
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == said[: said.index(stop)]
    assert choices[-1].finish_reason == "stop"
