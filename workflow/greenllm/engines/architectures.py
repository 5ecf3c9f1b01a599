"""Architectures that an engine can run, by the class name in a model's config.json; engines not named run any."""

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


def runs(engine: EngineName, architecture: str) -> bool:
    """Return whether an engine can run models of an architecture, such as LlamaForCausalLM."""
    return engine not in KNOWN or architecture in KNOWN[engine]
