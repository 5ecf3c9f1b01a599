"""The graphs in a folder of ONNX Runtime GenAI. They have the same inputs, and the same file of weights."""

ALL_TOKENS = "model.onnx"
"""Computes the logits of all tokens that it reads."""

LAST_TOKEN = "last_token.onnx"
"""Computes the logits of each row's last token alone. Folders of an earlier version have no such graph."""
