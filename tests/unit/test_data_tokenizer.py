"""Trained and copied tokenizers, loaded by `tokenizers` and by transformers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from greenllm.config.models import TokenizerSettings
from greenllm.data.tokenizer import copy_tokenizer, save_tokenizer, train_tokenizer
from greenllm.errors import UserError

TEXTS = [
    "Where is my card?\n",
    "card_arrival",
    "en>zh: May 3, 2024\n",
    "2024年5月3日",
    "1 234,50 €\n",
    "Ä quoi ça sert",
]


@pytest.mark.parametrize("kind", ["bpe", "characters"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_both_libraries_decode_what_they_encode(tmp_path, kind, lowercase):
    from transformers import AutoTokenizer

    settings = TokenizerSettings(kind=kind, vocabulary=300, lowercase=lowercase)
    save_tokenizer(train_tokenizer(TEXTS, settings), tmp_path)
    plain, auto = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        ids = plain.encode(text).ids
        assert plain.decode(ids) == (text.lower() if lowercase else text)
        assert auto(text)["input_ids"] == ids
        assert auto.decode(ids) == plain.decode(ids)
    assert (auto.pad_token_id, auto.eos_token_id, auto.unk_token_id) == (0, 1, 2)
    chat = auto.apply_chat_template([{"role": "user", "content": "Where is my card?"}], tokenize=False)
    assert chat == "Where is my card?\n"


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_bpe_spells_any_text(text):
    tokenizer = train_tokenizer(TEXTS, TokenizerSettings(kind="bpe", vocabulary=300))
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_a_line_break_is_a_separate_token(kind):
    tokenizer = train_tokenizer(["a \n", "?\n", "a?\n"] * 50, TokenizerSettings(kind=kind, vocabulary=300))
    (line_break,) = tokenizer.encode("\n").ids
    for text in ("a ", "a?", "a"):
        assert tokenizer.encode(text + "\n").ids == [*tokenizer.encode(text).ids, line_break]


def test_each_character_is_a_token_and_unknown_ones_are_unk():
    tokenizer = train_tokenizer(TEXTS, TokenizerSettings(kind="characters"))
    assert len(tokenizer.encode("2024年5月3日").ids) == len("2024年5月3日")
    assert tokenizer.encode("字").tokens == ["<unk>"]


def test_a_vocabulary_too_small_for_all_bytes_is_refused():
    with pytest.raises(UserError, match=r"preprocess\.tokenizer\.vocabulary: 100"):
        train_tokenizer(TEXTS, TokenizerSettings(vocabulary=100))


def test_a_models_tokenizer_is_copied(tmp_path):
    trained = train_tokenizer(TEXTS, TokenizerSettings(vocabulary=300))
    save_tokenizer(trained, tmp_path / "model")
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"not to be copied")
    copied = copy_tokenizer(tmp_path / "model", tmp_path / "copy")
    assert copied.to_str() == trained.to_str()
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_a_model_without_a_readable_tokenizer_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected tokenizer\.json"):
        copy_tokenizer(tmp_path, tmp_path / "copy")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="not a readable tokenizer"):
        copy_tokenizer(tmp_path, tmp_path / "copy")
