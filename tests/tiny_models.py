"""Model folders of a few hundred kilobytes with random weights: all that serving needs to be tested or timed."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenllm.training.model_sizes import Size

CONTEXT = 128
TEXTS = [
    "The card has not arrived yet, what shall I do?",
    "I want to change my PIN; where can I do that?",
    "Wo ist meine Karte geblieben? Sie sollte längst da sein.",
    "¿Cuánto cuesta una transferencia al extranjero?",
    "我的银行卡还没有到, 请问该怎么办?",
    "My top-up failed twice: why?",
]
PROMPTS = [f"{text}\n" for text in TEXTS] + [
    "x\n",
    "A much longer question, so that the batch needs padding: " + TEXTS[0],
]


def make_fp32(folder: Path, *, size: "Size | str" = "tiny") -> Path:
    """Write a transformers folder, as `greenllm train` does."""
    import torch
    from transformers import LlamaForCausalLM

    from greenllm.config.models import TokenizerSettings
    from greenllm.data.tokenizer import save_tokenizer, train_tokenizer
    from greenllm.model_folder.manifest import Manifest
    from greenllm.training.model_sizes import llama_config

    tokenizer = train_tokenizer(TEXTS * 3, TokenizerSettings(vocabulary=600))
    config = llama_config(size, vocabulary=tokenizer.get_vocab_size(), context=CONTEXT, pad_id=0, eos_id=1)
    # Wide enough that the best token stands well above the next: rounding then does not change answers.
    config.initializer_range = 0.1
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight[:3] = 0  # special tokens are never said, so that answers are long
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    Manifest(engine="transformers", precision="fp32", context=CONTEXT).write(folder)
    return folder


def make_gpt2(folder: Path) -> Path:
    """Write the transformers folder of a GPT-2, which has learned a fixed number of positions."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from greenllm.config.models import TokenizerSettings
    from greenllm.data.tokenizer import save_tokenizer, train_tokenizer
    from greenllm.model_folder.manifest import Manifest

    tokenizer = train_tokenizer(TEXTS * 3, TokenizerSettings(vocabulary=600))
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=2, eos_token_id=1,
        bos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        model.get_input_embeddings().weight[:3] = 0  # as of `make_fp32`
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    Manifest(engine="transformers", precision="fp32", context=CONTEXT).write(folder)
    return folder


def make_int8(fp32: Path, folder: Path) -> Path:
    """Write the onnxruntime-genai folder of a model, as `greenllm compress` does."""
    return compress(fp32, folder, "quantize: int8")


def compress(parent: Path, folder: Path, recipe: str, *options: str) -> Path:
    """Make a model of another by a recipe, such as `quantize: int4`, with `greenllm compress`."""
    from greenllm.cli import main

    command = ["compress", "--recipe", recipe, "--from", str(parent), "--out", str(folder), "--device", "cpu"]
    assert main([*command, *options]) == 0
    return folder


def without_finite_weights(model: Path, folder: Path) -> Path:
    """Copy a model folder; the weights of its last norm are not numbers, as after training that diverged."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("model.norm.weight"))
    path.unlink()  # the weights may still be read from it
    save_file(weights | {name: torch.full_like(weights[name], float("nan"))}, path, {"format": "pt"})
    return folder
