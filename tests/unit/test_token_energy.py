"""The energy per input and per output token: found from rounds of different lengths, with honest intervals."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from narrowing import known
from simulated_study import Simulation, config

from greenllm.account.account import account
from greenllm.account.results_folder import read_results_folder
from greenllm.attribution import attribute
from greenllm.cli import main
from greenllm.comparison.served import PointEnergy
from greenllm.comparison.token_energy import (
    ALIKE,
    TokenEnergyUnknown,
    energy_of_requests,
    extrapolates,
    token_energy,
)
from greenllm.documents.measurement import MeasuredRound
from greenllm.estimate import Estimate, Parameter
from greenllm.files import write_json
from greenllm.model_folder.manifest import Manifest
from greenllm.report.tables.comparison import comparison
from greenllm.study.results import read_study

REQUEST_J, PROMPT_J, CACHED_J, GENERATED_J = 0.5, 0.02, 0.002, 0.3
GAIN = {"gain": Parameter(1.0, 0.97, 1.03, "1", "simulated")}
LENGTHS = [(10, 5), (60, 3), (25, 12), (90, 8), (40, 2), (15, 15), (70, 10)]


def measured(
    tmp_path: Path, chance: random.Random, *, alike: bool = False, caches: bool = False, starts: int = 8
) -> PointEnergy:
    """Return a measurement of `starts` starts, which differ by 1.5 %, with four rounds each, which differ by 3 %."""
    study = Simulation(tmp_path, config(["baseline"]))
    point = study.point(1, [(0, 0.0, 1.0)], "serve", 1, LENGTHS)
    rounds, energies = [], []
    for start in range(starts):
        speed = chance.gauss(1, 0.015)
        for block in range(4):
            mean_in, mean_out = LENGTHS[0] if alike else chance.choice(LENGTHS)
            requests = chance.randint(8, 16)
            prompt, generated = requests * mean_in, requests * mean_out
            cached = chance.randint(0, prompt // 2) if caches else None
            energy_J = REQUEST_J * requests + PROMPT_J * (prompt - (cached or 0)) + GENERATED_J * generated
            energy_J = (energy_J + CACHED_J * (cached or 0)) * speed * chance.gauss(1, 0.03)
            rounds.append(
                MeasuredRound(
                    window=study.window(0, 1),
                    start=start,
                    block=4 * start + block,
                    serve_id="serve",
                    answered=requests,
                    completion_tokens=generated,
                    prompt_tokens=prompt,
                    cached_prompt_tokens=cached,
                )
            )
            energies.append(Estimate({"gain": energy_J}, GAIN))
    return PointEnergy(point.model_copy(update={"rounds": rounds}), energies, ())


def test_its_intervals_hold_the_truth_as_often_as_they_say(tmp_path: Path) -> None:
    chance, times = random.Random(5), 200
    held = dict.fromkeys(["request", "prompt", "generated", "requests"], 0)
    for _ in range(times):
        found = token_energy({1: measured(tmp_path, chance)})
        asked = energy_of_requests(found, 1000, 50, 10)
        truth = {
            "request": (found.request_J, REQUEST_J),
            "prompt": (found.prompt_token_J, PROMPT_J),
            "generated": (found.generated_token_J, GENERATED_J),
            "requests": (asked, 1000 * (REQUEST_J + 50 * PROMPT_J + 10 * GENERATED_J)),
        }
        for name, (interval, true_J) in truth.items():
            held[name] += interval.low <= true_J <= interval.high
    assert all(count >= 0.92 * times for count in held.values()), held
    # The sensors' 3 % alone are not the interval: it rests on the spread between starts, too, and yet is not vague.
    assert 0.06 < (asked.high - asked.low) / asked.value < 0.12


def test_cached_tokens_are_separate(tmp_path: Path) -> None:
    found = token_energy({1: measured(tmp_path, random.Random(2), caches=True, starts=40)})
    assert found.columns == ["requests", "prompt", "cached", "generated"]
    assert found.prompt_token_J.value == pytest.approx(PROMPT_J, rel=0.3)
    assert known(found.cached_prompt_token_J).value == pytest.approx(CACHED_J, abs=0.006)


def test_beyond_the_measured_lengths_it_extrapolates(tmp_path: Path) -> None:
    found = token_energy({1: measured(tmp_path, random.Random(2))})
    assert extrapolates(found, 50, 10) == []
    assert extrapolates(found, 800, 10) == ["10 to 90 tokens in"]
    assert extrapolates(found, 800, 150) == ["10 to 90 tokens in", "2 to 15 tokens out"]


def test_what_cannot_be_told_apart_is_unknown_with_the_reason(tmp_path: Path) -> None:
    chance = random.Random(2)
    point = measured(tmp_path, chance)
    unreported = [one.model_copy(update={"prompt_tokens": None}) for one in point.written.rounds]
    for unknown, reason in (
        (measured(tmp_path, chance, alike=True), ALIKE),
        (measured(tmp_path, chance, starts=2), "at least 9 rounds are needed, and there were 8"),
        (replace(point, rounds=()), "the energy of its rounds is unknown"),
        (
            replace(point, written=point.written.model_copy(update={"rounds": unreported})),
            "the server does not report its tokens",
        ),
    ):
        with pytest.raises(TokenEnergyUnknown) as raised:
            token_energy({1: unknown})
        assert str(raised.value) == reason


def test_requests_that_would_take_less_than_nothing_are_unknown(tmp_path: Path) -> None:
    found = token_energy({1: measured(tmp_path, random.Random(2))})
    below = found.model_copy(update={"coefficients_J": [-3.0, PROMPT_J, GENERATED_J]})
    with pytest.raises(TokenEnergyUnknown, match="the extrapolation is below 0"):
        energy_of_requests(below, 9, 5, 2)
    covariance = [[100.0, 0.0, 0.0], *found.covariance_J2[1:]]
    asked = energy_of_requests(found.model_copy(update={"covariance_J2": covariance}), 9, 5, 2)
    assert asked.low == 0 < asked.value < asked.high


def study_of(results: Path, lengths: list[tuple[int, int]]) -> Simulation:
    study = Simulation(results, config(["baseline", "int8"]))
    study.prepare("support")
    study.train("support", "baseline", 1, 60)
    study.compress("support", "int8", 1)
    for recipe in ("baseline", "int8"):
        study.evaluate("support", recipe, 1, 0.9, 1200)
    study.measure("support", 1, {"baseline": 40.0, "int8": 10.0}, rounds=40, starts=8, lengths=lengths)
    return study


def stored(study: Simulation) -> dict[str, Any]:
    """Write the account of a study; return the rows of its recipes."""
    found = account(read_study(study.config, study.results), attribute(study.results / "ledger"), {})
    written: dict[str, Any] = json.loads(json.dumps(found.to_json(), allow_nan=False))
    (study.results / "account").mkdir(exist_ok=True)
    write_json(study.results / "account/account.json", written)
    return {row["recipe"]: row for row in written["experiments"]["support"]["comparison"]["recipes"]}


def test_the_account_has_it_and_recommend_says_what_requests_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path / "results", LENGTHS)
    rows = stored(study)
    for row in rows.values():
        found = row["token_energy"]
        # A simulated token out takes ten times as long as one in.
        assert found["generated_token_J"]["value"] == pytest.approx(10 * found["prompt_token_J"]["value"], rel=0.2)
    requests = ["--requests", "10000", "--tokens-in", "50", "--tokens-out", "10"]
    count = "10\N{NARROW NO-BREAK SPACE}000"
    assert main(["recommend", str(study.results), *requests]) == 0
    said = capsys.readouterr().out
    assert f"baseline: {count} requests of 50 tokens in and 10 out take" in said
    assert "extrapolated" not in said
    assert main(["recommend", str(study.results), "--json", *requests[:2], "--tokens-in", "800", *requests[4:]]) == 0
    decided = json.loads(capsys.readouterr().out)["support"]["requests_of_this_length"]
    assert decided["int8"]["extrapolates"] is True
    assert decided["baseline"]["energy_J"]["value"] > 3 * decided["int8"]["energy_J"]["value"]

    bundle = study.results / "deployments/support/int8/seed-1/bundle"
    bundle.mkdir(parents=True, exist_ok=True)
    Manifest(context=64).write(bundle)
    assert main(["recommend", str(study.results), *requests[:5], "60"]) == 0
    said = capsys.readouterr().out
    assert f"int8: {count} requests of 50 tokens in and 60 out: unknown, the model's context is 64 tokens" in said
    assert f"baseline: {count} requests of 50 tokens in and 60 out take" in said


def test_requests_of_one_length_say_why_it_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of(tmp_path / "results", [(14, 4)])
    assert stored(study)["int8"]["token_energy_reason"] == ALIKE
    (note,) = (
        note for note in comparison(read_results_folder(study.results).account()).notes if "output token" in note
    )
    assert note == f"Per input and output token: unknown, {ALIKE}."
    assert main(["recommend", str(study.results), "--requests", "9", "--tokens-in", "5", "--tokens-out", "2"]) == 0
    assert f"int8: 9 requests of 5 tokens in and 2 out: unknown, {ALIKE}" in capsys.readouterr().out
    assert main(["recommend", str(study.results), "--tokens-in", "5", "--tokens-out", "2"]) == 2
    assert "--requests: missing" in capsys.readouterr().err
