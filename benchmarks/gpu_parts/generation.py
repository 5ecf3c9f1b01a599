"""Answers of the network: the batch curve, and the precisions of its weights."""

from typing import Any

import torch

from gpu_parts.network import prompts
from gpu_parts.records import Settings
from gpu_parts.rounds import Setting

PROMPT_TOKENS, ANSWER_TOKENS = 128, 64


def answering(settings: Settings, network: Any, name: str, batch: int) -> Setting:
    """Return the setting that answers a batch of prompts, greedily, by transformers' own `generate`."""
    asked, answer = (16, 8) if settings.rehearse else (PROMPT_TOKENS, ANSWER_TOKENS)
    ids = prompts(settings, network, batch, asked)
    mask = torch.ones_like(ids)

    def work() -> None:
        network.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=answer, min_new_tokens=answer)

    return Setting(name, batch, batch * answer, work)
