"""Structured pruning removes the parts that add nothing to the output, in each architecture."""

import re
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from greenllm.compression.cutting import choose, cut
from greenllm.compression.importance import measure
from greenllm.compression.llama_like import decoder_of
from greenllm.compression.shares import shape_of
from greenllm.errors import UserError
from greenllm.training.adapted_layers import FROM_SCRATCH
from greenllm.training.adapter import adapt
from greenllm.training.model_sizes import SIZES, llama_config

ROWS = [[1, 5, 9, 3, 7], [2, 8, 4], [11, 6, 13, 2, 9, 15, 3]]
SHAPE = {
    "vocab_size": 20,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,  # heads x width is more than the hidden size
    "max_position_embeddings": 32,
}


def decoder(architecture, **settings):
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **SHAPE | settings)
    return decoder_of(AutoModelForCausalLM.from_config(config).eval(), Path("model"))


def logits(network):
    with torch.inference_mode():
        return [network(input_ids=torch.tensor([row])).logits for row in ROWS]


def same(before, after):
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(before, after, strict=True))


@torch.no_grad()
def silence(whole, groups=(), neurons=(), layers=()):
    """Let key-value groups and neurons (one list per layer) and whole layers add nothing to the output."""
    size = whole.shape.heads_per_group * whole.shape.head_width
    for index, layer in enumerate(whole.layers):
        for group in groups[index] if groups else ():
            layer.self_attn.o_proj.weight[:, group * size : (group + 1) * size] = 0
        if neurons:
            layer.mlp.down_proj.weight[:, neurons[index]] = 0
        if index in layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()


@pytest.mark.parametrize("size", SIZES)
def test_what_a_study_is_checked_with_is_what_a_model_from_scratch_has(size):
    config = llama_config(size, vocabulary=20, context=32, pad_id=0, eos_id=1)
    found = decoder_of(AutoModelForCausalLM.from_config(config), Path("model"))
    assert found.shape == shape_of(SIZES[size])
    with pytest.raises(UserError) as refused:
        adapt(found.network, rank=1, alpha=1, dropout=0, modules=["query"])
    assert str(refused.value).endswith("; it has " + ", ".join(FROM_SCRATCH))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text"])
def test_parts_that_add_nothing_are_removed_and_the_output_stays(architecture, tmp_path):
    whole = decoder(architecture)
    chance = torch.Generator().manual_seed(1)
    neurons = [torch.randperm(128, generator=chance)[:64] for _ in range(4)]
    silence(whole, groups=[[0], [1], [1], [0]], neurons=neurons, layers=[1, 2])
    before = logits(whole.network)
    kept = choose(measure(whole, ROWS), whole.shape, heads=0.5, feed_forward=0.5, layers=0.5)
    assert [(one.layer, one.groups) for one in kept] == [(0, [1]), (3, [1])]
    smaller = cut(whole, kept)
    assert same(before, logits(smaller))
    smaller.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert same(before, logits(loaded))
    config = loaded.config
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (2, 1, 32)
    assert (config.intermediate_size, config.num_hidden_layers) == (64, 2)


def test_removing_a_part_that_contributes_changes_the_output():
    whole = decoder("llama")
    before = logits(whole.network)
    kept = choose(measure(whole, ROWS), whole.shape, heads=0, feed_forward=0.5, layers=0)
    assert not same(before, logits(cut(whole, kept)))


def test_rarely_active_neurons_are_removed_whatever_their_weights():
    whole = decoder("llama")
    with torch.no_grad():
        for layer in whole.layers:
            layer.mlp.up_proj.weight[:32] *= 1e-4
            layer.mlp.down_proj.weight[:, :32] *= 10
    kept = choose(measure(whole, ROWS), whole.shape, heads=0, feed_forward=0.25, layers=0)
    assert [one.neurons for one in kept] == [list(range(32, 128))] * 4


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (
            {"heads": 0.3},
            "prune.heads: 0.3 of 2 key-value groups of 2 heads is no whole number of them; expected a sha",
        ),
        (
            {"layers": 0.3},
            "prune.layers: 0.3 of 4 layers is no whole number of them; expected a share such as 0.25, 0.5",
        ),
        ({"feed_forward": 0.01}, "prune.feed_forward: 0.01 of 128 neurons removes nothing, in steps of 32; expected a"),
        ({"feed_forward": 0.99}, "removes everything"),
    ],
)
def test_a_share_that_does_not_divide(shares, said):
    whole = decoder("llama")
    importance = measure(whole, ROWS)
    with pytest.raises(UserError, match=re.escape(said)):
        choose(importance, whole.shape, **{"heads": 0, "feed_forward": 0, "layers": 0} | shares)


def test_a_third_may_be_written_with_three_digits():
    whole = decoder("llama", num_hidden_layers=3)
    kept = choose(measure(whole, ROWS), whole.shape, heads=0, feed_forward=0, layers=0.333)
    assert len(kept) == 2


def test_one_key_value_group_cannot_be_halved():
    whole = decoder("gemma", num_key_value_heads=1)
    with pytest.raises(UserError, match="none can be removed"):
        choose(measure(whole, ROWS), whole.shape, heads=0.5, feed_forward=0, layers=0)


@pytest.mark.parametrize(
    ("architecture", "settings", "missing"),
    [
        ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 2}, "no layers"),
        ("phi3", {"pad_token_id": 0}, "no self_attn.q_proj"),
        ("mixtral", {"num_local_experts": 2}, "no mlp.gate_proj"),
    ],
)
def test_other_architectures_are_refused(architecture, settings, missing):
    with pytest.raises(UserError, match=missing):
        decoder(architecture, **settings)
