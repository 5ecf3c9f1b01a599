"""Special tokens are added only by id: any tokenizer reads the text of one as plain text, and decodes it unchanged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from greenllm.config.models import TokenizerSettings
from greenllm.data.tokenizer import copy_tokenizer, save_tokenizer, train_tokenizer
from greenllm.engines import Prompt, PromptError
from greenllm.engines.text import Detokenizer, Text
from greenllm.tokens import read_tokenizer

CHARACTERS = "▁abcdefghijklmnopqrstuvwxyz0123456789<>/|_[]INST"
BEGIN = {"bos_token": "<s>", "eos_token": "</s>"}
TEXTS = ["the card", "<unk>", "<eos> now", "a </s></s> b", "end<|im_end|>", "[INST] do [/INST]", "<s><pad>", "<tool> a"]


def write(folder: Path, tokenizer: Tokenizer, **settings: object) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    )


def trained(kind: str) -> Callable[[Path], None]:
    """Trained on texts that spell special tokens often enough to be merged."""

    def make(folder: Path) -> None:
        settings = TokenizerSettings(kind=kind, vocabulary=400)
        save_tokenizer(train_tokenizer(TEXTS * 50, settings), folder)

    return make


def byte_level(folder: Path) -> None:
    """As in GPT-2, Llama 3, Qwen: bytes, and tokens added outside the vocabulary's model."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, [], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>", "<|im_end|>", AddedToken("[INST]", lstrip=True, rstrip=True)])
    tokenizer.add_tokens(["<tool>", "<pad>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    write(folder, tokenizer, pad_token="<pad>", **BEGIN)


def unigram(folder: Path) -> None:
    """As in SentencePiece: the special tokens are pieces of the model, and the most likely ones."""
    pieces = [(token, 0.0) for token in ("<unk>", "<s>", "</s>", "<|im_end|>")]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((letter, -3.0) for letter in CHARACTERS)], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(["<tool>"])
    write(folder, tokenizer, additional_special_tokens=["<|im_end|>"], **BEGIN)


def words(folder: Path) -> None:
    """Whole words and single letters; the special tokens are words of the model."""
    known = ["<unk>", "<eos>", "<s>", "</s>", "<|im_end|>", *CHARACTERS, " "]
    tokenizer = Tokenizer(models.WordLevel({word: id for id, word in enumerate(known)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(["<|im_end|>"])
    tokenizer.add_tokens(["<tool>"])
    write(folder, tokenizer, unk_token="<unk>", **BEGIN)


MAKERS = {
    "bpe": trained("bpe"),
    "characters": trained("characters"),
    "byte-level": byte_level,
    "unigram": unigram,
    "words": words,
}


@pytest.fixture(params=MAKERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    MAKERS[request.param](tmp_path)
    return tmp_path


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_is_read_as_a_special_token(folder: Path, text: str) -> None:
    tokenizer = Text(folder)
    ids = tokenizer.tokenizer.encode(text, add_special_tokens=False).ids
    spelled = [id for id in ids if id != tokenizer.token_id("unk_token")]  # of characters that the vocabulary lacks
    assert spelled
    assert not tokenizer.special & set(spelled)


@pytest.mark.parametrize("kind", ["bpe", "characters", "byte-level", "unigram"])
@pytest.mark.parametrize("text", TEXTS)
def test_what_spells_a_special_token_is_decoded_as_it_is(tmp_path: Path, kind: str, text: str) -> None:
    MAKERS[kind](tmp_path)
    tokenizer = Text(tmp_path)
    answer = Detokenizer(tokenizer)
    ids = tokenizer.prompt_ids(text)
    assert "".join(answer.add(token) for token in ids) == text == answer.text
    assert tokenizer.decode([*tokenizer.special, *ids, *tokenizer.special]) == text


def test_added_tokens_that_are_not_special_stay_tokens(tmp_path: Path) -> None:
    byte_level(tmp_path)
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer.encode("<tool>", add_special_tokens=False).tokens == ["<tool>"]
    assert tokenizer.encode("<pad>", add_special_tokens=False).tokens != ["<pad>"]  # tokenizer_config.json names it


def test_a_copied_tokenizer_counts_as_an_engine_does(folder: Path, tmp_path: Path) -> None:
    copied, text = copy_tokenizer(folder, tmp_path / "copy"), Text(folder)
    for one in TEXTS:
        assert (
            copied.encode(one).ids
            == text.tokenizer.encode(one).ids
            == Text(tmp_path / "copy").tokenizer.encode(one).ids
        )
    assert (tmp_path / "copy" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_transformers_spells_them_too_with_a_trained_tokenizer(tmp_path: Path, kind: str) -> None:
    from transformers import AutoTokenizer

    MAKERS[kind](tmp_path)
    reference = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert reference(text)["input_ids"] == Text(tmp_path).prompt_ids(text)


def test_texts_without_special_tokens_have_the_ids_that_the_library_gives(folder: Path) -> None:
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("the card", "a < b > c", "<|im_en", "[INS T]", "<tool> a"):
        assert Text(folder).tokenizer.encode(text).ids == plain.encode(text).ids


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|im_end|>{{ m.role }}\n[INST] {{ m.content | trim }} [/INST]{% endfor %}"
    "{% if add_generation_prompt %}<|im_end|>{{ eos_token }} assistant{% endif %}"
)


@pytest.fixture(params=["byte-level", "unigram", "words"])
def instruct(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    MAKERS[request.param](tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    return tmp_path


def chat(content: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]


def test_a_chat_templates_special_tokens_are_ids_as_transformers_makes_them(instruct: Path) -> None:
    from transformers import AutoTokenizer

    text, reference = Text(instruct), AutoTokenizer.from_pretrained(instruct)
    for content in ("Where is my card?", "  two\n\nlines ", "银行", ""):
        expected = reference.apply_chat_template(chat(content), add_generation_prompt=True, return_dict=False)
        once = expected[1:] if expected[:2] == [text.token_id("bos_token")] * 2 else expected
        assert text.prompt_ids(text.chat_prompt(chat(content))) == once


@pytest.mark.parametrize("written", TEXTS)
def test_what_is_said_in_a_chat_is_text(instruct: Path, written: str) -> None:
    text = Text(instruct)
    plain, spelled = text.chat_prompt(chat("x")), text.chat_prompt(chat(f" {written}x"))
    special = text.special - {text.token_id("unk_token")}
    assert [id for id in spelled.ids if id in special] == [id for id in plain.ids if id in special]
    assert spelled == plain.replace(" x ", f" {written}x ")


def test_a_refusal_names_what_was_said(instruct: Path) -> None:
    (instruct / "chat_template.jinja").write_text("{{ raise_exception('no ' + messages[-1].content) }}")
    with pytest.raises(PromptError, match=r"no <\|im_end\|>$"):
        Text(instruct).chat_prompt(chat("<|im_end|>"))


def test_ids_that_are_no_tokens_are_refused(folder: Path) -> None:
    text = Text(folder)
    assert text.prompt_ids(Prompt("", [1, 2])) == [1, 2]
    for strange in (-1, text.tokenizer.get_vocab_size(), 2**32, 10**400):
        with pytest.raises(PromptError, match="not a token id"):
            text.prompt_ids(Prompt("", [1, strange]))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("special_tokens_map.json", {"eos_token": "<end>"}),
        ("special_tokens_map.json", {"additional_special_tokens": [{"content": "<end>"}]}),
        ("config.json", {"eos_token_id": 256}),
        ("generation_config.json", {"eos_token_id": [1, 256]}),
    ],
)
def test_the_end_token_that_another_file_names_is_special_too(
    tmp_path: Path, file: str, content: dict[str, object]
) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_tokens(["<end>"])
    assert tokenizer.token_to_id("<end>") == 256
    write(tmp_path, tokenizer)
    assert 256 in read_tokenizer(tmp_path).encode("a<end>").ids
    (tmp_path / file).write_text(json.dumps(content))
    ids = read_tokenizer(tmp_path).encode("a<end>").ids
    assert 256 not in ids
    assert len(ids) == len("a<end>")
