"""Texts as token ids. Special tokens are added only by id: no text of data or users is ever read as one."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, pre_tokenizers

from greenllm.errors import UserError
from greenllm.files import read_json

FILE = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
MAP = "special_tokens_map.json"


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer in a folder; it does not pad or truncate, and reads a special token's text as plain text.

    Special tokens are those that tokenizer.json marks as special, those that tokenizer_config.json and
    special_tokens_map.json name, such as `eos_token`, and the end tokens that config.json and generation_config.json
    name by id. Raises UserError if there is no readable tokenizer.
    """
    try:
        tokenizer = Tokenizer.from_file(str(folder / FILE))
    except Exception as error:  # the library raises bare Exceptions
        raise UserError(f"{folder / FILE}: not a readable tokenizer ({error})") from None
    # The file may pad or truncate; batches and engines do both themselves.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    known = special_tokens(tokenizer).values()
    named = (token for token in _all_named_special(folder, tokenizer) if token not in known)
    tokenizer.add_special_tokens([token for token in named if tokenizer.token_to_id(token) is not None])
    return spelling_special_tokens(tokenizer)


def spelling_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Make a tokenizer read the text of its special tokens like any other text; return it.

    `tokenizers` does not save this setting, so it is set whenever a tokenizer is loaded.
    """
    tokenizer.encode_special_tokens = True
    # Some vocabularies (WordLevel, Unigram) hold special tokens as words: their text is cut after the first character.
    if whole := [text for id, text in special_tokens(tokenizer).items() if _is_a_word(tokenizer, id, text)]:
        cuts = Regex("|".join(f"{re.escape(text[0])}(?={re.escape(text[1:])})" for text in whole))
        before = [] if tokenizer.pre_tokenizer is None else [tokenizer.pre_tokenizer]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, pre_tokenizers.Split(cuts, "isolated")])
    return tokenizer


def special_tokens(tokenizer: Tokenizer) -> dict[int, str]:
    """Return the special tokens: id → text."""
    return {id: token.content for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}


def special_token_settings(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens that a tokenizer_config.json names: `eos_token` → its text."""
    return {
        key: text for key, value in settings.items() if key.endswith("_token") and (text := _text_of(value)) is not None
    }


def vocabulary(folder: Path) -> dict[str, int]:
    """Return all tokens of the tokenizer in a folder, with their ids; raise UserError if it has no tokenizer."""
    if not (folder / FILE).is_file():
        raise UserError(f"{folder / FILE}: no such file; expected a tokenizer, as `greenllm preprocess` writes it")
    return read_tokenizer(folder).get_vocab()


def as_added_token(text: str, like: AddedToken) -> AddedToken:
    """Return a token that is not special and strips the white space around it as `like` does."""
    return AddedToken(text, lstrip=like.lstrip, rstrip=like.rstrip, normalized=False, special=False)


def read_settings_file(path: Path) -> dict[str, Any]:
    """Return the JSON object in a model folder's file; an empty one if the file is absent."""
    return read_json(path, "fetch or make the model again") if path.is_file() else {}


def _named_special(settings: Mapping[str, Any]) -> set[str]:
    """Return the texts of all tokens that a tokenizer_config.json marks as special."""
    more = [settings.get(key) for key in ("additional_special_tokens", "extra_special_tokens")]
    values = [value for some in more for value in (some.values() if isinstance(some, dict) else some or [])]
    added = settings.get("added_tokens_decoder") or {}
    values += [token for token in added.values() if isinstance(token, dict) and token.get("special")]
    return {*special_token_settings(settings).values(), *(text for value in values if (text := _text_of(value)))}


def _all_named_special(folder: Path, tokenizer: Tokenizer) -> list[str]:
    """Return the texts of the tokens that the files next to tokenizer.json mark as special, sorted."""
    named = {text for file in (SETTINGS, MAP) for text in _named_special(read_settings_file(folder / file))}
    for file in ("config.json", "generation_config.json"):
        ids = read_settings_file(folder / file).get("eos_token_id")
        for id in ids if isinstance(ids, list) else [ids]:
            if isinstance(id, int) and (text := tokenizer.id_to_token(id)) is not None:
                named.add(text)
    return sorted(named)


def _text_of(token: object) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _is_a_word(tokenizer: Tokenizer, id: int, text: str) -> bool:
    """Return whether the vocabulary itself reads the text of a special token as that token."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    found = zip(encoding.ids, encoding.offsets, strict=True)
    # A single character that the vocabulary lacks is read as the unknown token.
    return any(token == id and end - start > 1 for token, (start, end) in found)
