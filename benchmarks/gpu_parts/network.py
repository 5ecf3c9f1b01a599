"""A Llama-like network with random weights: what it computes is meaningless, what it costs is not."""

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gpu_parts.records import Settings

LLAMA_1B = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32_000,
    "tie_word_embeddings": True,
}
TINY = LLAMA_1B | {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}


def make_network(settings: Settings) -> Any:
    """Return a network of 1.0 billion parameters, the shape of Llama 3.2 1B with a smaller vocabulary, in bf16."""
    config = LlamaConfig(**(TINY if settings.rehearse else LLAMA_1B), max_position_embeddings=2048)
    torch.manual_seed(1)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if settings.rehearse else torch.bfloat16)
    try:
        with torch.device(settings.device):
            network = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    # Answers of random weights would end anywhere; these all have the length asked for.
    network.generation_config.eos_token_id = None
    network.generation_config.pad_token_id = 0
    return network


def prompts(settings: Settings, network: Any, batch: int, length: int) -> torch.Tensor:
    """Return random tokens, of shape (batch, length)."""
    return torch.randint(network.config.vocab_size, (batch, length), device=settings.device)


def parameters(network: Any) -> int:
    return sum(weight.numel() for weight in network.parameters())
