"""Prompts in a model's chat template, the form on which instruct models were trained."""

from collections.abc import Callable
from pathlib import Path

from greenllm.engines import Prompt, PromptError
from greenllm.engines.text import Text
from greenllm.errors import UserError


def chat_template(model: Path, system: str | None) -> Callable[[str], Prompt]:
    """Return a function that puts a prompt into a model's chat template, as the user's message after `system`.

    Only the ids of its result hold the template's special tokens; its text merely spells them. If template and
    tokenizer both begin a text with the same token, the template's is left out.
    Raises UserError if the model has no chat template, or its template refuses these messages.
    """
    text = Text(model)
    before = [] if system is None else [{"role": "system", "content": system}]

    def whole(prompt: str) -> Prompt:
        try:
            return text.chat_prompt([*before, {"role": "user", "content": prompt.rstrip("\n")}])
        except PromptError as error:
            raise UserError(f"model.chat: {model}: {error}") from None

    # The beginning of a text depends only on template and tokenizer, so one prompt shows it for all.
    probe = whole("x")
    doubled = len(text.prompt_ids(probe)) < len(probe.ids)
    first = (text.token("bos_token") or "") if doubled else ""

    def chat(prompt: str) -> Prompt:
        written = whole(prompt)
        return Prompt(written.removeprefix(first), text.prompt_ids(written))

    return chat
