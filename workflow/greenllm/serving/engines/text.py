"""Text to tokens and back, for every engine: `tokenizer.json` by the tokenizers library, templates by Jinja.

Deliberately without transformers, whose import takes longer than a small model's whole start.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from greenllm.errors import UserError
from greenllm.files import read_json
from greenllm.serving.engines import PromptError, PromptTooLong

RECENT = 32  # prompts whose token ids are remembered


class Text:
    """The tokenizer and the chat template of a model folder."""

    def __init__(self, folder: Path) -> None:
        try:
            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises bare Exceptions
            raise UserError(f"{folder / 'tokenizer.json'}: cannot be read as a tokenizer: {error}") from None
        # Files written for training may pad or cut; an engine does both by itself.
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        settings = read_settings_file(folder / "tokenizer_config.json")
        self._special = {
            key: value["content"] if isinstance(value, dict) else value
            for key, value in settings.items()
            if key.endswith("_token") and isinstance(value, str | dict)
        }
        self._template = _template(folder, settings)
        # A server counts a prompt's tokens before it takes the prompt on, and the engine reads them after.
        self._prompt_ids = functools.lru_cache(maxsize=RECENT)(self._encode)

    def token(self, name: str) -> str | None:
        """Return the text of the special token called `name` ("eos_token", "bos_token"…), None without one."""
        return self._special.get(name)

    def token_id(self, name: str) -> int | None:
        """Return the id of the special token called `name`, None without one."""
        token = self.token(name)
        return None if token is None else self.tokenizer.token_to_id(token)

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return a prompt's token ids, with the special tokens that the tokenizer itself puts around a text.

        A chat template often writes the first token out, so a doubled one is taken off again.
        """
        return list(self._prompt_ids(prompt))

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(prompt).ids
        if len(ids) > 1 and ids[0] == ids[1] == self.token_id("bos_token"):
            del ids[0]
        return ids

    def prompts_within(self, prompts: Sequence[str], context: int) -> list[list[int]]:
        """Return the token ids of `prompts`, each of which must leave room for an answer in the context."""
        rows = [self.prompt_ids(prompt) for prompt in prompts]
        for ids in rows:
            if not ids:
                raise PromptError("the prompt is empty; expected at least one token")
            if len(ids) >= context:
                raise PromptTooLong(
                    f"the prompt has {len(ids)} tokens, and the model's context of {context} tokens must "
                    "hold the answer too; shorten the prompt"
                )
        return rows

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, without special tokens."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt that the chat template makes of `messages`."""
        if self._template is None:
            raise PromptError("this model has no chat template; send the prompt to /v1/completions instead")
        try:
            return self._template.render(messages=list(messages), add_generation_prompt=True, **self._special)
        except Exception as error:  # a template is somebody else's program
            raise PromptError(f"the model's chat template refuses these messages: {error}") from None


class Answer:
    """One answer in the making: its token ids, and its text in whole characters as they come."""

    def __init__(self, text: Text) -> None:
        self.ids: list[int] = []
        self._text = text
        self._told = ""
        self._stream = DecodeStream(skip_special_tokens=True)

    def add(self, token: int) -> str:
        """Add a token; return the text that it completes, "" within a character of several tokens."""
        self.ids.append(token)
        piece = self._stream.step(self._text.tokenizer, token) or ""
        self._told += piece
        return piece

    def rest(self) -> str:
        """Return the text that no token completed, such as an answer cut within a character."""
        whole = self.text
        return whole[len(self._told) :] if whole.startswith(self._told) else ""

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._text.decode(self.ids)


def read_settings_file(path: Path) -> dict[str, Any]:
    """Return the JSON object of a model folder's file; an absent file is an empty one."""
    return read_json(path, "fetch or make the model again") if path.is_file() else {}


def token_ids(value: object) -> frozenset[int]:
    """Return the token ids in a configuration's `eos_token_id`: none, one or a list."""
    values = value if isinstance(value, list) else [value]
    return frozenset(item for item in values if isinstance(item, int))


def _template(folder: Path, settings: Mapping[str, Any]) -> jinja2.Template | None:
    """Compile a folder's chat template: `chat_template.jinja`, or the key in `tokenizer_config.json`."""
    file = folder / "chat_template.jinja"
    source = file.read_text(encoding="utf-8") if file.is_file() else settings.get("chat_template")
    if isinstance(source, list):  # several named templates
        source = next((item.get("template") for item in source if item.get("name") == "default"), None)
    if not isinstance(source, str):
        return None
    # Sandboxed: a template comes with a model, from anywhere. Whitespace, extension and functions are those
    # that Hugging Face's templates count on (huggingface.co/docs/transformers/chat_templating_writing).
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise UserError(f"{folder}: the chat template is no Jinja template: {error}") from None


def _refuse(message: str) -> NoReturn:
    raise PromptError(message)
