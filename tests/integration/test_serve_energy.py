"""`greenllm serve --energy` under load: the energies of all answers and the idle energy are what was counted."""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hardware.simulated import PowercapTree, clean_environment, proc_tree
from serving_fixtures import serving
from tiny_models import PROMPTS

REQUESTS, CONCURRENCIES = 200, (1, 2, 4, 8)


@dataclass
class Supply:
    """Counters that move between `begin` and `end` alone, so what they counted in all is known."""

    begin_s: float = math.inf
    end_s: float = math.inf

    def energy_J(self, now_s: float) -> float:
        """40 W on average, in waves of 25 W."""
        since_s = max(0.0, min(now_s, self.end_s) - self.begin_s) if self.begin_s < math.inf else 0.0
        return 1000 + 40 * since_s + 25 * (1 - math.cos(3 * since_s)) / 3


@dataclass
class Metered:
    """A server on a host of one processor, all of which it reserves, with the counters of a package and its memory."""

    supply: Supply
    client: httpx.Client

    def energy(self, name: str, **labels: str) -> float:
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = self.client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith(f"{name}{{") and all(one in line for one in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def settled(self, answer: str) -> dict[str, Any]:
        deadline_s = time.monotonic() + 30
        while (found := self.client.get(f"/v1/energy/{answer}").json())["provisional"]:
            assert time.monotonic() < deadline_s, "its interval is never over"
            time.sleep(0.05)
        return found


@pytest.fixture(scope="module")
def metered(int8: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metered]:
    folder, supply = tmp_path_factory.mktemp("host"), Supply()
    zones = {
        "intel-rapl:0": ("package-0", supply.energy_J),
        "intel-rapl:0:0": ("dram", lambda now_s: supply.energy_J(now_s) / 8),
    }
    environment = clean_environment(
        folder,
        GREENLLM_SYSFS=str(folder / "sys"),
        GREENLLM_PROCFS=str(proc_tree(folder / "proc", cpus=1)),
        GREENLLM_METER_INTERVAL_S="0.25",
    )
    tree = PowercapTree(folder / "sys", zones)
    with tree.running(), serving(int8, "--energy", **environment) as (_, url):
        supply.begin_s = time.monotonic()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield Metered(supply, client)


def ask(client: httpx.Client, number: int) -> dict[str, Any]:
    """Send a request, some as a stream or for three answers; return its answer, or a stream's last chunk."""
    body: dict[str, Any] = {"prompt": PROMPTS[number % len(PROMPTS)], "max_tokens": 1 + number * 7 % 40}
    body |= {"n": 3, "temperature": 1, "seed": 1} if number % 10 == 0 else {}
    if number % 3:
        answer: dict[str, Any] = client.post("/v1/completions", json=body).json()
        return answer
    text = client.post("/v1/completions", json=body | {"stream": True, "stream_options": {"include_usage": True}}).text
    last = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")][-1]
    chunk: dict[str, Any] = json.loads(last)
    return chunk


def test_answers_and_idle_time_together_are_what_the_counters_counted(metered: Metered) -> None:
    answers: list[dict[str, Any]] = []
    for concurrency in CONCURRENCIES:
        with ThreadPoolExecutor(concurrency) as pool:
            numbers = range(len(answers), len(answers) + REQUESTS // len(CONCURRENCIES))
            answers += list(pool.map(lambda number: ask(metered.client, number), numbers))
        time.sleep(0.3)  # idle
    metered.supply.end_s = time.monotonic()
    counted_J = (metered.supply.energy_J(math.inf) - 1000) * (1 + 1 / 8)
    deadline_s = time.monotonic() + 30
    while metered.energy("greenllm_host_energy_joules_total") < counted_J * 0.9999:
        assert time.monotonic() < deadline_s, "not all that was counted is shared out"
        time.sleep(0.1)

    settled = [metered.settled(answer["id"]) for answer in answers]
    answers_J = math.fsum(one["value_J"] for one in settled)
    idle_J = metered.energy("greenllm_energy_joules_total", use="idle")
    assert answers_J == pytest.approx(metered.energy("greenllm_energy_joules_total", use="requests"), rel=1e-3)
    assert answers_J + idle_J == pytest.approx(counted_J, rel=1e-3)
    assert metered.energy("greenllm_energy_joules_total", component="dram") == pytest.approx(counted_J / 9, rel=1e-3)
    assert answers_J > 0.2 * counted_J
    assert idle_J > 0.05 * counted_J

    for answer, later in zip(answers, settled, strict=True):
        first = answer["usage"]["energy"]
        assert later["quality"] == "measured"
        assert 0 < later["low_J"] < later["value_J"] < later["high_J"]
        assert later["idle_J"] > 0
        assert first["value_J"] is None or first["low_J"] <= first["value_J"] <= first["high_J"]
    # An interval may end between the end of an answer and its first figure, but rarely does.
    assert sum(answer["usage"]["energy"]["provisional"] for answer in answers) > 0.8 * REQUESTS
    # The package's bounds are 5 %, its memory's 20 %: together less than that.
    assert settled[-1]["high_J"] / settled[-1]["value_J"] < 1.06


def test_the_energy_of_an_unknown_answer_is_not_found_in_one_line(metered: Metered) -> None:
    refused = metered.client.get("/v1/energy/cmpl-0")
    assert refused.status_code == 404
    assert "no energy of an answer 'cmpl-0' here; it is kept for 10 minutes" in refused.json()["error"]["message"]


def test_without_the_option_nothing_is_counted(int8: Path) -> None:
    with serving(int8) as (_, url), httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        answer = ask(client, 1)
        assert "energy" not in answer["usage"]
        assert "energy" not in client.get("/metrics").text
        refused = client.get(f"/v1/energy/{answer['id']}")
        assert refused.status_code == 404
        assert refused.json()["error"]["message"].endswith("start it with --energy")
