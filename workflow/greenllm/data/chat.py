"""Prompts in a model's chat template, as instruct models were trained on them."""

from collections.abc import Callable
from pathlib import Path

from greenllm.engines import Prompt, PromptError
from greenllm.engines.text import Text
from greenllm.errors import UserError


def chat_template(model: Path, system: str | None) -> Callable[[str], Prompt]:
    """Return what puts a prompt into the chat template of a model folder, as the user's message after `system`.

    The template's special tokens are in the result's ids alone; in its text they look like any that a user writes.
    Where both the template and the tokenizer begin a text with the same token, the template's is left out.
    Raises UserError where the model has no chat template, or its template refuses such messages.
    """
    text = Text(model)
    before = [] if system is None else [{"role": "system", "content": system}]

    def whole(prompt: str) -> Prompt:
        try:
            return text.chat_prompt([*before, {"role": "user", "content": prompt.rstrip("\n")}])
        except PromptError as error:
            raise UserError(f"model.chat: {model}: {error}") from None

    # How a text begins depends on the template and the tokenizer alone: one prompt shows it for all.
    probe = whole("x")
    doubled = len(text.prompt_ids(probe)) < len(probe.ids)
    first = (text.token("bos_token") or "") if doubled else ""

    def chat(prompt: str) -> Prompt:
        written = whole(prompt)
        return Prompt(written.removeprefix(first), text.prompt_ids(written))

    return chat
