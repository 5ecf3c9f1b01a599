"""GGUF files of tiny models, as a converter of llama.cpp's would write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def make_gguf(folder: Path, file: Path, *, quantization: str = "F32", architecture: str = "llama") -> Path:
    """Write a Llama-like model folder (tests/tiny_models.py) as a GGUF file, its matrices in `quantization`."""
    from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, LlamaFileType, get_tensor_name_map, quantize
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    writer = GGUFWriter(file, architecture)
    writer.add_license("apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    prefix = "ALL" if quantization == "F32" else "MOSTLY"
    writer.add_file_type(LlamaFileType[f"{prefix}_{quantization}"])
    _add_tokenizer(writer, folder)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, layers)
    for name, weight in load_file(folder / "model.safetensors").items():
        kind = GGMLQuantizationType[quantization if weight.ndim == 2 else "F32"]
        if "q_proj" in name or "k_proj" in name:
            weight = _permuted(weight, heads)
        known = names.get_name(name.removesuffix(".weight"))
        writer.add_tensor(f"{known}.weight", quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _permuted(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Return a projection's rows in llama.cpp's order: rotary pairs are neighbours there, half a head apart here."""
    rows, columns = weight.shape
    return np.ascontiguousarray(
        weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def _add_tokenizer(writer: Any, folder: Path) -> None:
    from gguf import TokenType

    written = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    vocabulary = written["model"]["vocab"]
    special = {token["content"] for token in written["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in written["model"]["merges"]])
    writer.add_eos_token_id(vocabulary[settings["eos_token"]])
    writer.add_pad_token_id(vocabulary[settings["pad_token"]])
    writer.add_unk_token_id(vocabulary[settings["unk_token"]])
    writer.add_chat_template(settings["chat_template"])
