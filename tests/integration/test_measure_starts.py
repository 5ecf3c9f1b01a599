"""How often `greenllm measure` starts servers: fixed, or determined by the spread in the first stage."""

import contextlib
import itertools
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploying import measure, rows_of, write_predictions
from openai_stand_in import Handler, Server
from scipy import stats
from side_by_side import Bundles, measured
from tiny_models import PROMPTS

from greenllm.model_folder.endpoint import Endpoint
from greenllm.model_folder.manifest import Manifest

FIRST = 4
# Time that a request waits at each endpoint (s): the second one's is four times as long with every other request.
WAITS_s = {"baseline": [0.01], "uneven": [0.01, 0.04]}


@contextlib.contextmanager
def endpoint(waits_s: Sequence[float]) -> Iterator[str]:
    """Run an endpoint whose answers wait for these times in turn; yield its address."""
    waits = itertools.cycle(waits_s)

    class Waiting(Handler):
        name = "own"

        def do_POST(self) -> None:
            time.sleep(next(waits))
            super().do_POST()

    with Server(("127.0.0.1", 0), Waiting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[None]:
    """Bundles of two endpoints. The energy of endpoints is unknown, so the time of a request decides."""
    with contextlib.ExitStack() as stack:
        for name, waits_s in WAITS_s.items():
            url = stack.enter_context(endpoint(waits_s))
            (tmp_path / name).mkdir()
            own = Endpoint(url=url, served_name="own")
            Manifest(engine="openai-endpoint", precision=None, endpoint=own).write(tmp_path / name)
            write_predictions(tmp_path / f"{name}.jsonl", rows_of([one.split()[-1].upper() for one in PROMPTS]))
        yield


def durations_s(document: dict[str, Any], name: str) -> list[float]:
    """Return how long each round of a server lasted. A round is one request."""
    (point,) = next(server["points"] for server in document["servers"] if server["name"] == name)
    windows = [one["window"] for one in point["rounds"]]
    return [window["monotonic_end_s"] - window["monotonic_start_s"] for window in windows]


@pytest.mark.parametrize(
    ("narrow", "most_s", "reason"),
    [
        (1.0, 60.0, "from the spread in the first 4 starts (deploy.narrow 1)"),
        (0.001, 0.5, "from the spread in the first 4 starts (deploy.narrow 0.001, and no more fit into deploy.most_s"),
        (1e6, 60.0, "from the spread in the first 4 starts (deploy.narrow 1e+06)"),
    ],
)
def test_the_spread_in_the_first_stage_determines_how_often_servers_are_started(
    endpoints: None, tmp_path: Path, narrow: float, most_s: float, reason: str
) -> None:
    done = measure(tmp_path, list(WAITS_s), starts=FIRST, rounds=FIRST, requests=FIRST, narrow=narrow, most_s=most_s)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "measurement.json").read_text())
    planned, (orders,) = found["planned"], found["orders"]
    spent_s = {name: durations_s(found, name) for name in WAITS_s}
    first_s = {name: np.array(own[:FIRST]) for name, own in spent_s.items()}
    most = int(most_s / np.mean(list(first_s.values())))
    deviation = np.std(np.log(first_s["baseline"] / first_s["uneven"]), ddof=1)
    needed = math.ceil((stats.t.ppf(0.975, FIRST - 1) * deviation / math.log(1 + narrow)) ** 2)
    expected = max(FIRST, min(needed, most))
    assert (planned["first"], planned["starts"], planned["rounds"]) == (FIRST, expected, 1)
    assert planned["reason"].startswith(reason)
    assert [len(orders), *map(len, spent_s.values())] == [expected] * 3
    assert (expected > FIRST) is (narrow < 2)  # the endpoints differ enough for a second stage


def test_a_start_takes_the_time_of_its_rounds_at_all_concurrencies(endpoints: None, tmp_path: Path) -> None:
    most_s = 1.0
    options: dict[str, Any] = {"starts": FIRST, "rounds": FIRST, "requests": FIRST, "concurrency": [1, 2]}
    done = measure(tmp_path, list(WAITS_s), narrow=0.0001, most_s=most_s, **options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "measurement.json").read_text())
    windows = [
        one["window"]
        for server in found["servers"]
        for point in server["points"]
        for one in point["rounds"]
        if one["start"] < FIRST
    ]
    assert len(windows) == 2 * 2 * FIRST
    lasted_s = sum(one["monotonic_end_s"] - one["monotonic_start_s"] for one in windows)
    assert found["planned"]["starts"] == int(most_s / (lasted_s / 2 / FIRST))
    assert "no more fit into deploy.most_s" in found["planned"]["reason"]


def test_without_a_ratio_the_first_stage_is_all(bundles: Bundles, tmp_path: Path) -> None:
    bundles(["only"])
    found = measured(tmp_path, ["only"], starts=2, rounds=2, requests=2, narrow=0.01)
    planned = found["planned"]
    assert (planned["first"], planned["starts"]) == (2, 2)
    assert "there is no ratio" in planned["reason"]
