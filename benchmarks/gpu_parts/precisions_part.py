"""Weights in bf16, int8 and int4 (torchao): energy per token, at a small and a large batch."""

from typing import Any

import torch

from gpu_parts.generation import answering
from gpu_parts.network import make_network
from gpu_parts.records import Journal, Missing, Settings
from gpu_parts.rounds import Setting, measure, one_line

PART = "precisions"
BATCHES = (1, 64)


def run(settings: Settings, journal: Journal) -> None:
    """Measure each precision that can be had, side by side."""
    chosen: dict[str, Setting] = {}
    for precision in ("bf16", "int8", "int4"):
        try:
            network = _network(settings, precision)
        except Exception as error:  # torchao is not there, or lacks this kernel: the other precisions go on
            missing = isinstance(error, ImportError)
            reason = f"torchao is not installed ({error})" if missing else one_line(error)
            # A rehearsal has no GPU, which int4's kernel needs.
            optional = missing or settings.rehearse
            journal.write(Missing(part=PART, setting=precision, reason=reason, optional=optional))
            continue
        for batch in (1, 4) if settings.rehearse else BATCHES:
            name = f"{precision}, batch {batch}"
            chosen[name] = answering(settings, network, name, batch)
    measure(settings, journal, PART, chosen)


def _network(settings: Settings, precision: str) -> Any:
    """Return the network with its linear layers, but not the output layer, in a precision."""
    network = make_network(settings).eval()
    if precision == "bf16":
        return network
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    config = (
        Int8WeightOnlyConfig(version=2)
        if precision == "int8"
        else Int4WeightOnlyConfig(group_size=64, int4_packing_format="tile_packed_to_4d")
    )
    quantize_(network, config, lambda module, name: isinstance(module, torch.nn.Linear) and name != "lm_head")
    return network
