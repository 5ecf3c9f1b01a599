"""`greenllm probe-training`: train a few steps with each setting that standard input orders, for `greenllm tune`."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenllm.config.models import Model, Training
from greenllm.config.read import read_settings
from greenllm.device_choice import DEVICE_CHOICES, DeviceChoice
from greenllm.option_ranges import seed
from greenllm.orders import read_order
from greenllm.work import write_work


@dataclass(frozen=True)
class TrainingOrder:
    """An order to train for `least_s` seconds; `meters` are processes that take a sample at both ends of that."""

    batch: int
    threads: int
    precision: str
    least_s: float
    meters: list[int]


@dataclass(frozen=True)
class ProbedSteps:
    """The window of the steps of an order (CLOCK_MONOTONIC, s), its work, and the GPUs that it computed on."""

    start_s: float
    end_s: float
    samples: int
    tokens: int
    gpus: int

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ProbedSteps":
        """Return the object that `dataclasses.asdict` made."""
        return cls(**value)


@dataclass(frozen=True)
class TrainingProbe:
    """What all orders train on: the data, the model to start from (None: from scratch), seed and device."""

    data: Path
    parent: Path | None
    seed: int
    device: DeviceChoice


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm probe-training`."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder that `greenllm preprocess` wrote")
    add("--settings", default="{}", help="training settings: JSON or YAML, or a file of it")
    add("--model", default="{}", help="from scratch: size and context (tokens): JSON or YAML, or a file of it")
    add("--from", dest="parent", type=Path, help="folder of the model to start from, instead of --model")
    add("--seed", type=seed, default=1, help="of the initial weights and the order of batches")
    add("--device", choices=DEVICE_CHOICES, default="auto", help="require: a GPU or nothing")
    parser.description = (
        "train a few steps for each line of standard input: a JSON object with batch, threads, precision, least_s (how "
        "long, in seconds) and meters (process ids of meters that take a sample at both ends). A line on standard "
        "output with the window (s), samples and tokens follows each. Nothing is saved."
    )


def run(arguments: argparse.Namespace) -> int:
    """Train until standard input ends. Raises UserError if an order is not valid."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    settings = read_settings(arguments.settings, Training)
    model = read_settings(arguments.model, Model, option="--model")
    probe = TrainingProbe(arguments.data, arguments.parent, arguments.seed, arguments.device)
    samples = tokens = 0
    for line in sys.stdin:
        order = _order(line)

        from greenllm.training.model_sizes import SIZES, Decoder
        from greenllm.training.probed_steps import train_steps

        decoder = None if probe.parent else Decoder(SIZES[model.size], model.context)
        probed = train_steps(probe, settings, decoder, order)
        samples, tokens = samples + probed.samples, tokens + probed.tokens
        print(json.dumps(asdict(probed)), flush=True)
    write_work(samples=samples, tokens=tokens)
    return 0


def _order(line: str) -> TrainingOrder:
    example = '{"batch": 8, "threads": 2, "precision": "fp32", "least_s": 1, "meters": []}'
    return read_order(line, TrainingOrder, lambda order: min(order.batch, order.threads) >= 1, example)
