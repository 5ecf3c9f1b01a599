"""A second graph of an ONNX Runtime GenAI model, which computes the logits of each row's last token alone.

An answer needs one row of logits, but the builder's graph computes those of all tokens of a prompt: a quarter of the
time that a small model takes to read it. Both graphs use the same file of weights.
"""

from pathlib import Path

import onnx
from onnx import helper

from greenllm.errors import UserError
from greenllm.model_folder.graphs import ALL_TOKENS, LAST_TOKEN

HEAD = "/lm_head/MatMul"  # how the name of the head's node begins in the model builder's graphs


def write_last_token_graph(folder: Path) -> None:
    """Write the graph of the last token's logits beside the graph of all logits in a model folder.

    A row's last token is the last one in its attention mask: rows are padded on the right. The graph is for prompts
    that are read at once, and answers that are read token by token.

    A row that is read has the index min(its tokens, tokens read) - 1: a prompt's last, or 0 in a single token.

    Raises `UserError` if the model's head is not found in its graph.
    """
    model = onnx.load(folder / ALL_TOKENS, load_external_data=False)
    nodes = model.graph.node
    place = next((place for place, node in enumerate(nodes) if node.name.startswith(HEAD)), None)
    if place is None:
        raise UserError(f"{folder / ALL_TOKENS}: expected a node {HEAD}; use the pinned version of onnxruntime-genai")
    head = nodes[place]
    added = [
        # Of shape (rows, 1).
        helper.make_node("ReduceSum", ["attention_mask", "last/one"], ["last/tokens"]),
        helper.make_node("Shape", ["input_ids"], ["last/read"], start=1, end=2),
        helper.make_node("Min", ["last/tokens", "last/read"], ["last/position"]),
        helper.make_node("Sub", ["last/position", "last/one"], ["last/index"]),
        # Of shape (rows, 1, 1) and (rows, 1, hidden).
        helper.make_node("Unsqueeze", ["last/index", "last/two"], ["last/indices"]),
        helper.make_node("GatherND", [head.input[0], "last/indices"], ["last/state"], batch_dims=1),
    ]
    head.input[0] = "last/state"
    for node in reversed(added):
        nodes.insert(place, node)
    for name, value in (("last/one", 1), ("last/two", 2)):
        model.graph.initializer.append(helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value]))
    (logits,) = (output for output in model.graph.output if output.name == "logits")
    logits.type.tensor_type.shape.dim[1].dim_value = 1
    del model.graph.value_info[:]  # shapes inside the graph, which onnxruntime infers
    onnx.save(model, folder / LAST_TOKEN)
