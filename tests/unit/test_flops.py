"""Operations counted on the meta device, against the formulas of the literature."""

import pytest

from greenllm.model_folder.flops import Flops, count_flops
from greenllm.training.model_sizes import SIZES, llama_config

EMBEDDED = {"tiny": 1.2e6, "small": 4.8e6, "base": 20.8e6}  # parameters with a vocabulary of 3,000


def parameters(config):
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())


@pytest.mark.parametrize("size", SIZES)
def test_counts_agree_with_the_formula(size):
    config = llama_config(size, vocabulary=3000, context=256, pad_id=0, eos_id=1)
    weights = parameters(config)
    layers, width, length = config.num_hidden_layers, config.hidden_size, 200

    counted = count_flops(config)

    # 6 N D for the weights, 12 L d T for the attention of each token (Kaplan et al. 2020, section 2.1).
    formula = length * (6 * weights + 12 * layers * width * length)
    assert counted.training.of(length) == pytest.approx(formula, rel=0.002)
    assert counted.forward.of(length) == pytest.approx(formula / 3, rel=0.002)
    assert weights == pytest.approx(EMBEDDED[size], rel=0.05)


def test_a_polynomial_through_two_counts_predicts_a_third():
    exact = Flops(per_token=700, per_pair=3)
    fitted = Flops.fitted((8, exact.of(8)), (16, exact.of(16)))
    assert fitted.of(100, sequences=5) == pytest.approx(5 * exact.of(100))


def test_other_architectures_are_counted_too():
    from transformers import GPT2Config, Qwen3Config

    qwen = Qwen3Config(
        vocab_size=500, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=64,
    )  # fmt: skip
    gpt2 = GPT2Config(vocab_size=500, n_embd=64, n_layer=2, n_head=4, n_positions=64)
    for config in (qwen, gpt2):
        counted = count_flops(config)
        assert counted.training.of(32) == pytest.approx(3 * counted.forward.of(32), rel=0.01)
        assert counted.forward.of(32) > 0
