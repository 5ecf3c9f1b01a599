"""Chat templates: messages as the kind of prompt that an instruct model was trained on."""

import functools
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from tokenizers import Tokenizer

from greenllm.engines import Prompt, PromptError
from greenllm.tokens import SETTINGS, as_added_token, read_settings_file, read_tokenizer, special_token_settings

PRIVATE = 0x100000  # Unicode's last private use area: 65,534 characters that normalisation and case changes leave alone
MARK_LENGTH = 8  # such characters, drawn at random: 128 bits


class ChatTemplate:
    """The chat template of a model folder. Its own special tokens become ids; those in the messages are only text."""

    def __init__(self, folder: Path) -> None:
        settings = read_settings_file(folder / SETTINGS)
        self._folder = folder
        self._special = special_token_settings(settings)
        self._template = _template(folder, settings)

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> Prompt:
        """Return the prompt that the template makes of `messages` (role and content), as text and as token ids.

        Raises PromptError if there is no template, it is not valid, or it refuses the messages.
        """
        if self._template is None:
            raise PromptError("this model has no chat template; send the prompt to /v1/completions instead")
        tokens = self._tokens
        contents = [{**message, "content": tokens.protected(message["content"])} for message in messages]
        try:
            written = _rendered(self._template, contents, add_generation_prompt=True, **self._special)
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(f"the model's chat template is not a valid Jinja template: {error}") from None
        except Exception as error:  # a template is foreign code and may raise anything
            reason = tokens.plain(str(error))
            raise PromptError(f"the model's chat template refuses these messages: {reason}") from None
        return Prompt(tokens.plain(written), tokens.encode(written))

    @functools.cached_property
    def _tokens(self) -> "_TemplateTokens":
        return _TemplateTokens(read_tokenizer(self._folder))


class _TemplateTokens:
    """Distinguishes a template's special tokens from the same words in messages, while both are in one text.

    A special token that a message spells is replaced by a mark before the template writes it. Each special token in
    the result is then the template's. It is replaced by a mark of another kind, which the tokenizer reads as a token.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        special = {id: token for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        texts = [token.content for token in special.values()]
        self._protected, self._special = _Marks(texts), _Marks(texts)
        tokenizer.add_tokens(
            [as_added_token(self._special.of[token.content], like=token) for token in special.values()]
        )
        self._tokenizer = tokenizer
        self._ids = {tokenizer.token_to_id(self._special.of[token.content]): id for id, token in special.items()}

    def protected(self, content: str) -> str:
        """Return a message's content with marks in place of the special tokens that it spells."""
        return self._protected.put(content)

    def plain(self, written: str) -> str:
        """Return a template's output without marks."""
        return self._protected.restored(written)

    def encode(self, written: str) -> list[int]:
        """Return the token ids of a template's output, with those that the tokenizer itself adds around a text."""
        marked = self._protected.restored(self._special.put(written))
        return [self._ids.get(id, id) for id in self._tokenizer.encode(marked).ids]


class _Marks:
    """A mark for each of some texts. No message can contain one: all begin with random characters of this process."""

    def __init__(self, texts: Sequence[str]) -> None:
        start = "".join(chr(PRIVATE + secrets.randbelow(65_534)) for _ in range(MARK_LENGTH))
        self.of = {text: f"{start}{chr(PRIVATE + number)}" for number, text in enumerate(texts)}
        """Text → its mark."""
        self._texts = {mark: text for text, mark in self.of.items()}
        self._text = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")
        self._mark = re.compile(f"{start}.")

    def put(self, text: str) -> str:
        return self._text.sub(lambda match: self.of[match[0]], text)

    def restored(self, text: str) -> str:
        return self._mark.sub(lambda match: self._texts.get(match[0], match[0]), text)


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """Return a folder's chat template: `chat_template.jinja`, or the key in `tokenizer_config.json`."""
    file = folder / "chat_template.jinja"
    source = file.read_text(encoding="utf-8") if file.is_file() else settings.get("chat_template")
    if isinstance(source, list):  # several named templates
        source = next((item.get("template") for item in source if item.get("name") == "default"), None)
    return source if isinstance(source, str) else None


def _rendered(template: str, messages: Sequence[Mapping[str, str]], **settings: Any) -> str:
    """Return what a template makes of messages, by the function of transformers for which templates are written.

    It runs the template in a sandbox, and keeps it compiled.
    """
    # Imported with the first chat: its import takes longer than the whole start of a small model.
    from transformers.utils.chat_template_utils import render_jinja_template

    (written,), _ = render_jinja_template([list(messages)], chat_template=template, **settings)
    return str(written)
