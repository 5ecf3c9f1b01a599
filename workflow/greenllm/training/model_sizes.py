"""Sizes of the small Llama-like decoders that are trained from scratch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import LlamaConfig


HEAD_WIDTH = 64  # a width for which every inference engine has kernels


@dataclass(frozen=True)
class Size:
    """Width and depth of a decoder."""

    hidden: int
    layers: int
    feed_forward: int
    heads: int


# With a vocabulary of 3,000 these have 1.2, 4.8 and 20.8 million parameters.
SIZES = {
    "tiny": Size(hidden=128, layers=4, feed_forward=384, heads=2),
    "small": Size(hidden=256, layers=5, feed_forward=704, heads=4),
    "base": Size(hidden=512, layers=6, feed_forward=1408, heads=8),
}


@dataclass(frozen=True)
class Decoder:
    """A decoder to train from scratch: its size and context (tokens)."""

    size: Size
    context: int


def llama_config(size: Size | str, *, vocabulary: int, context: int, pad_id: int, eos_id: int) -> "LlamaConfig":
    """Return the configuration of a Llama-like decoder.

    Args:
        size: a size or its name in `SIZES`.
        vocabulary: number of tokens of the tokenizer.
        context: longest sequence, in tokens.
        pad_id: id of the padding token.
        eos_id: id of the token that ends a completion.
    """
    from transformers import LlamaConfig

    chosen = SIZES[size] if isinstance(size, str) else size
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=chosen.hidden,
        intermediate_size=chosen.feed_forward,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        num_key_value_heads=chosen.heads,
        head_dim=HEAD_WIDTH,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=pad_id,
        eos_token_id=eos_id,
    )
