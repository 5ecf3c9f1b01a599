"""Text to tokens and back, for every engine, by the tokenizers library.

Without transformers, whose import takes longer than the whole start of a small model.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers.decoders import DecodeStream

from greenllm.engines import Prompt, PromptError, PromptTooLong
from greenllm.engines.chat_template import ChatTemplate, ConversationTokens
from greenllm.tokens import SETTINGS, read_settings_file, read_tokenizer, special_token_settings, special_tokens

MOST_IDS = 2**32  # tokenizers keeps ids in 32 bits
RECENT = 32  # prompts whose token ids are cached
MOST_TEXTS = 4096  # tokens whose texts are cached


class Text:
    """The tokenizer and the chat template of a model folder."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = read_tokenizer(folder)
        self.special = frozenset(special_tokens(self.tokenizer))
        """Ids of the special tokens: no text is read as one, and no answer contains one."""
        self._named = special_token_settings(read_settings_file(folder / SETTINGS))
        self._template = ChatTemplate(folder)
        # The server counts a prompt's tokens before it queues the prompt; the engine needs the same ids later.
        self._prompt_ids = functools.lru_cache(maxsize=RECENT)(self._encode)
        self.token_text = functools.lru_cache(maxsize=MOST_TEXTS)(self._token_text)
        """Returns the text of a token by its id: that of a special token, "\ufffd" for a part of a character."""

    def token(self, name: str) -> str | None:
        """Return the text of the special token called `name` ("eos_token", "bos_token"…), None if there is none."""
        return self._named.get(name)

    def token_id(self, name: str) -> int | None:
        """Return the id of the special token called `name`, None if there is none."""
        token = self.token(name)
        return None if token is None else self.tokenizer.token_to_id(token)

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return a prompt's token ids, with the special tokens that the tokenizer itself adds around a text.

        A chat template often writes the first token, too, so a doubled one is removed. Raises PromptError if a prompt
        was given as ids that this tokenizer does not have.
        """
        if not isinstance(prompt, Prompt):
            return list(self._prompt_ids(prompt))
        for id in prompt.ids:
            if not 0 <= id < MOST_IDS or self.tokenizer.id_to_token(id) is None:
                raise PromptError(f"{id} is not a token id of this model; expected ids of its tokenizer")
        return self._without_doubled_start(list(prompt.ids))

    def _encode(self, prompt: str) -> list[int]:
        return self._without_doubled_start(self.tokenizer.encode(prompt).ids)

    def _without_doubled_start(self, ids: list[int]) -> list[int]:
        return ids[1:] if len(ids) > 1 and ids[0] == ids[1] == self.token_id("bos_token") else ids

    def prompts_within(self, prompts: Sequence[str], context: int) -> list[list[int]]:
        """Return the token ids of `prompts`; raise PromptError if one is empty or leaves no room for an answer."""
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
        return str(self.tokenizer.decode([id for id in ids if id not in self.special], skip_special_tokens=False))

    def _token_text(self, id: int) -> str:
        # Some tokenizers leave out a text's first space, so the token is not the first.
        before = self._letter
        start = str(self.tokenizer.decode(before, skip_special_tokens=False))
        return str(self.tokenizer.decode([*before, id], skip_special_tokens=False)).removeprefix(start)

    @functools.cached_property
    def _letter(self) -> list[int]:
        return list(self.tokenizer.encode("a", add_special_tokens=False).ids[-1:])

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> Prompt:
        """Return the prompt that the chat template makes of `messages`; see `Engine.chat_prompt`."""
        return self._template.prompt(messages)

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> ConversationTokens:
        """Return a whole conversation as the chat template writes it; the assistant's last turn has an end token.

        Raises PromptError as `ChatTemplate.conversation` does.
        """
        found = self._template.conversation(messages)
        ids = self._without_doubled_start(found.ids)
        removed = len(found.ids) - len(ids)
        turns = [(start - removed, end - removed) for start, end in found.turns]
        start, end = turns[-1]
        if not self.special.intersection(ids[start:end]) and (eos := self.token_id("eos_token")) is not None:
            ids, turns[-1] = [*ids[:end], eos, *ids[end:]], (start, end + 1)
        return ConversationTokens(ids, turns)


class Detokenizer:
    """Turns the tokens of one answer into text, in whole characters, as they are generated."""

    def __init__(self, text: Text) -> None:
        self.ids: list[int] = []
        self._text = text
        self._shown = ""
        self._stream = DecodeStream(skip_special_tokens=False)
        self._pending: list[int] = []  # what the stream has read since the text that was shown last

    def add(self, token: int) -> str:
        """Add a token; return the text that it completes, "" inside a character of several tokens."""
        self.ids.append(token)
        if token in self._text.special:
            return ""
        self._pending.append(token)
        try:
            piece = self._stream.step(self._text.tokenizer, token)
        except Exception:  # the only class that `tokenizers` raises: bytes that are no character undid shown text
            self._stream = DecodeStream(skip_special_tokens=False)
            pieces = [self._stream.step(self._text.tokenizer, one) for one in self._pending]
            piece = "".join(one for one in pieces if one) or None
        if not piece:
            return ""
        self._pending = []
        self._shown += piece
        return piece

    @property
    def length(self) -> int:
        """Length of the text that the tokens have completed, in characters."""
        return len(self._shown)

    def rest(self) -> str:
        """Return the text that no token completed, as in an answer that was cut inside a character."""
        whole = self._text.decode(self.ids)
        if whole.startswith(self._shown):
            return whole[len(self._shown) :]
        return self._text.decode(self._pending)  # bytes that are no character would undo shown text

    @property
    def text(self) -> str:
        """The answer so far: the pieces and the rest."""
        return self._shown + self.rest()


def token_ids(value: object) -> frozenset[int]:
    """Return the token ids in a configuration's `eos_token_id`, which may be null, one id or a list."""
    values = value if isinstance(value, list) else [value]
    return frozenset(item for item in values if isinstance(item, int))
