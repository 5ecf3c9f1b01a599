"""What a training starts from: the tokenizer, and the network of the parent or a new one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from greenllm.errors import UserError
from greenllm.model_folder.inspection import context_of
from greenllm.model_folder.weights import load_weights
from greenllm.tokens import read_tokenizer
from greenllm.training.model_sizes import Decoder, llama_config


@dataclass(frozen=True)
class StartingPoint:
    """A network and its tokenizer; `context` is the longest sequence in tokens."""

    network: Any
    tokenizer: Tokenizer
    eos_id: int
    pad_id: int
    context: int


def starting_point(tokenizer_folder: Path, model: Decoder | None, parent: Path | None) -> StartingPoint:
    """Return the network in the folder `parent`, or else a new one with random weights, and the tokenizer.

    Raises UserError if the tokenizer is missing or does not fit the network.
    """
    eos_id, pad_id = _special_ids(tokenizer_folder)
    tokenizer = read_tokenizer(tokenizer_folder)
    tokens = tokenizer.get_vocab_size()
    network = load_weights(parent) if parent else _from_scratch(model, tokens, pad_id, eos_id)
    known = network.get_input_embeddings().weight.shape[0]
    if tokens > known:
        raise UserError(
            f"{tokenizer_folder}: the tokenizer has {tokens} tokens, the model in {parent} only {known}; preprocess "
            f"the data with `--model {parent}`"
        )
    return StartingPoint(network, tokenizer, eos_id, pad_id, context_of(network.config, parent or tokenizer_folder))


def _special_ids(folder: Path) -> tuple[int, int]:
    """Return the ids of the tokenizer's end and padding tokens; without a padding token, the end's for both."""
    if not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"{folder / 'tokenizer.json'}: no such file; expected the tokenizer `greenllm preprocess` wrote"
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no eos_token, so a model could not learn to end its answers")
    eos_id = int(tokenizer.eos_token_id)
    return eos_id, eos_id if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def _from_scratch(model: Decoder | None, vocabulary: int, pad_id: int, eos_id: int) -> Any:
    if model is None:
        raise UserError("train: neither --from nor --model; expected a model folder, or the size of a new model")
    config = llama_config(model.size, vocabulary=vocabulary, context=model.context, pad_id=pad_id, eos_id=eos_id)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
