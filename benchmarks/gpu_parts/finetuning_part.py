"""Fine-tuning of all weights, and of a low-rank adapter (LoRA): energy per token trained, and memory."""

from typing import Any

import torch

from gpu_parts.network import make_network, prompts
from gpu_parts.records import Journal, Missing, Settings
from gpu_parts.rounds import Setting, measure

PART = "finetuning"
RANK = 16


def run(settings: Settings, journal: Journal) -> None:
    """Measure the steps of both, side by side."""
    chosen = {"all weights": _training(settings, "all weights", make_network(settings))}
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        reason = f"peft is not installed ({error})"
        journal.write(Missing(part=PART, setting="LoRA", reason=reason, optional=True))
    else:
        layers = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
        adapted = get_peft_model(make_network(settings), layers)
        chosen["LoRA"] = _training(settings, "LoRA", adapted)
    measure(settings, journal, PART, chosen)


def _training(settings: Settings, name: str, network: Any) -> Setting:
    """Return the setting that does a step of AdamW on a batch of random tokens."""
    batch, length = (2, 16) if settings.rehearse else (8, 512)
    network.train()
    optimizer = torch.optim.AdamW([weight for weight in network.parameters() if weight.requires_grad], lr=1e-5)
    ids = prompts(settings, network, batch, length)

    def work() -> None:
        network(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Setting(name, batch, batch * length, work)
