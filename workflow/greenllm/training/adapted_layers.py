"""The linear layers that an adapter may be added to, by name; without PyTorch, so that a study can be checked."""

from collections.abc import Sequence

from greenllm.errors import UserError

# Those of a model from scratch, in its order: it is a Llama.
FROM_SCRATCH = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def require_layers(modules: Sequence[str], known: Sequence[str]) -> None:
    """Raise UserError if a module is no layer that the model is known to have."""
    for module in modules:
        if module not in known:
            raise UserError(f"lora.modules: the model has no linear layer {module!r}; it has {', '.join(known)}")
