"""Chat templates: messages as the kind of prompt that an instruct model was trained on."""

import functools
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from tokenizers import Tokenizer

from greenllm.engines import Prompt, PromptError
from greenllm.tokens import SETTINGS, as_added_token, read_settings_file, read_tokenizer, special_token_settings

PRIVATE = 0x100000  # Unicode's last private use area: 65,534 characters that normalisation and case changes leave alone
MARK_LENGTH = 8  # such characters, drawn at random: 128 bits


@dataclass(frozen=True)
class ConversationTokens:
    """A whole conversation as token ids; `turns` are the spans (start, end) of the assistant's turns in them."""

    ids: list[int]
    turns: list[tuple[int, int]]


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
        tokens = self._tokens
        contents = [{**message, "content": tokens.protected(message["content"])} for message in messages]
        written = self._written(contents, prompted=True)
        return Prompt(tokens.plain(written), tokens.encode(written))

    def _written(self, messages: Sequence[Mapping[str, str]], *, prompted: bool) -> str:
        """Return what the template writes; with `prompted`, up to where the assistant's next turn begins."""
        if self._template is None:
            raise PromptError("this model has no chat template; send the prompt to /v1/completions instead")
        try:
            return _rendered(self._template, messages, add_generation_prompt=prompted, **self._special)
        except jinja2.TemplateSyntaxError as error:
            raise PromptError(f"the model's chat template is not a valid Jinja template: {error}") from None
        except Exception as error:  # a template is foreign code and may raise anything
            reason = self._tokens.plain(str(error))
            raise PromptError(f"the model's chat template refuses these messages: {reason}") from None

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> ConversationTokens:
        """Return a whole conversation, with all that the template writes.

        A turn of the assistant is what the template adds after the prompt for it: its content and, in most templates,
        an end token. Raises PromptError if the template refuses the messages, or a turn can't be found in what it
        writes.
        """
        tokens = self._tokens
        contents = [{**message, "content": tokens.protected(message["content"])} for message in messages]
        whole = self._written(contents, prompted=False)
        said = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        return tokens.encode_spans(whole, [self._turn(whole, contents, number) for number in said])

    def _turn(self, whole: str, messages: Sequence[Mapping[str, str]], number: int) -> tuple[int, int]:
        """Return the span of a message of the assistant in the characters of the whole conversation."""
        before = self._written(messages[:number], prompted=True)
        after = self._written(messages[: number + 1], prompted=False)
        if after.startswith(before) and whole.startswith(after):
            return len(before), len(after)
        # Some templates write a turn in another way once others follow, as without its empty reasoning.
        through = before + messages[number]["content"]
        end = self._tokens.special_end(whole, len(through)) if whole.startswith(through) else None
        if end is None:
            raise PromptError(
                f"the assistant's turn, message {number + 1}, can't be found in the conversation that the model's chat "
                "template writes; use a model whose template writes each turn after the prompt for it"
            )
        return len(before), end

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

    def special_end(self, written: str, place: int) -> int | None:
        """Return where the special token ends that begins at a place of a template's output; None if none does."""
        return self._special.end(written, place)

    def plain(self, written: str) -> str:
        """Return a template's output without marks."""
        return self._protected.restored(written)

    def encode(self, written: str) -> list[int]:
        """Return the token ids of a template's output, with those that the tokenizer itself adds around a text."""
        return [self._ids.get(id, id) for id in self._tokenizer.encode(self._marked(written)).ids]

    def encode_spans(self, written: str, spans: Sequence[tuple[int, int]]) -> ConversationTokens:
        """Return the token ids of a template's output, and its `spans` (in characters) as spans of tokens."""
        encoding = self._tokenizer.encode(self._marked(written))
        found = []
        for span in spans:
            start, end = (len(self._marked(written[:place])) for place in span)
            # A token that is not of the text, such as one that begins it, has no characters.
            inside = [
                index for index, (one, other) in enumerate(encoding.offsets) if other > one and start <= one < end
            ]
            found.append((inside[0], inside[-1] + 1) if inside else (0, 0))
        return ConversationTokens([self._ids.get(id, id) for id in encoding.ids], found)

    def _marked(self, written: str) -> str:
        return self._protected.restored(self._special.put(written))


class _Marks:
    """A mark for each of some texts. No message can contain one: all begin with random characters of this process."""

    def __init__(self, texts: Sequence[str]) -> None:
        start = "".join(chr(PRIVATE + secrets.randbelow(65_534)) for _ in range(MARK_LENGTH))
        self.of = {text: f"{start}{chr(PRIVATE + number)}" for number, text in enumerate(texts)}
        """Text → its mark."""
        self._texts = {mark: text for text, mark in self.of.items()}
        self._text = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")
        self._mark = re.compile(f"{start}.")

    def end(self, text: str, place: int) -> int | None:
        match = self._text.match(text, place)
        return None if match is None else match.end()

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
