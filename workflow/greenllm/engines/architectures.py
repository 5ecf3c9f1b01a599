"""Architectures by the class name in a model's config.json: those that transformers has, and those of an engine."""

from collections.abc import Mapping

from greenllm.model_folder.manifest import EngineName

# Of text alone, as ONNX Runtime GenAI's model builder lists them (onnxruntime_genai.models.builder, 0.18.0); a test
# compares the two.
KNOWN: Mapping[EngineName, frozenset[str]] = {
    "onnxruntime-genai": frozenset(
        {
            "ChatGLMForConditionalGeneration",
            "ChatGLMModel",
            "Ernie4_5ForCausalLM",
            "Gemma2ForCausalLM",
            "Gemma3ForCausalLM",
            "GemmaForCausalLM",
            "GptOssForCausalLM",
            "GraniteForCausalLM",
            "GraniteMoeHybridForCausalLM",
            "HunYuanDenseV1ForCausalLM",
            "InternLM2ForCausalLM",
            "Lfm2ForCausalLM",
            "Lfm2MoeForCausalLM",
            "LlamaForCausalLM",
            "MistralForCausalLM",
            "NemotronForCausalLM",
            "OlmoForCausalLM",
            "Phi3ForCausalLM",
            "Phi3SmallForCausalLM",
            "PhiForCausalLM",
            "PhiMoEForCausalLM",
            "Qwen2ForCausalLM",
            "Qwen3ForCausalLM",
            "SmolLM3ForCausalLM",
        }
    )
}

# transformers' causal language models that it also reads from GGUF files, by the model_type in config.json; a test
# compares the two.
COMMON: Mapping[str, str] = {
    "bloom": "BloomForCausalLM",
    "falcon": "FalconForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gemma4_text": "Gemma4ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "gpt_oss": "GptOssForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mamba": "MambaForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "mistral": "MistralForCausalLM",
    "nemotron": "NemotronForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "stablelm": "StableLmForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
}
# What llama.cpp calls otherwise. Of the Gemmas that see, a GGUF file holds the text model.
IN_GGUF: Mapping[str, str] = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "gpt-oss": "gpt_oss",
    "minimax-m2": "minimax_m2",
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
}


def gguf_architecture(name: str) -> str | None:
    """Return the architecture that transformers makes of a GGUF file's; None if it does not read that."""
    return COMMON.get(IN_GGUF.get(name, name))


def causal_architecture(model_type: str) -> str | None:
    """Return the architecture of transformers' causal language models of a type such as llama; None if it has none.

    Takes seconds for a type that is not in COMMON, since transformers is imported.
    """
    if model_type in COMMON:
        return COMMON[model_type]
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    config = CONFIG_MAPPING_NAMES.get(model_type)
    if config is None:
        return None
    # transformers chooses by the configuration's class, which several types may share.
    alike = (other for other, name in CONFIG_MAPPING_NAMES.items() if name == config)
    return next((CAUSAL[name] for name in (model_type, *alike) if name in CAUSAL), None)


def runs(engine: EngineName, architecture: str) -> bool:
    """Return whether an engine can run models of an architecture, such as LlamaForCausalLM; one not named runs any."""
    return engine not in KNOWN or architecture in KNOWN[engine]
