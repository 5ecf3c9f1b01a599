"""A tokenizer is trained on all of a natural text, and on a part of the words that are longer than any language has."""

import pytest

from greenllm.config.models import TokenizerSettings
from greenllm.data.long_words import with_part_of_long_words
from greenllm.data.tokenizer import train_tokenizer

SENTENCE = "中文没有空格，但是有标点。"


@pytest.mark.parametrize("text", [SENTENCE * 1_000, "word " * 1_000, "a,1" * 1_000, "x" * 999, "", "\n" * 2_000])
def test_natural_texts_are_read_whole(text):
    assert list(with_part_of_long_words([text, text], kept=10)) == [text, text]


def test_long_words_share_what_is_kept():
    texts = [f"{'a' * 1_000} b", f"c {'7' * 2_000}\n{'-_' * 750} d", f"{'e' * 1_000}"]
    assert list(with_part_of_long_words(texts, kept=2_500)) == [texts[0], f"c {'7' * 1_500}\n d", ""]


def test_what_follows_a_long_word_is_learnt():
    tokenizer = train_tokenizer(["x" * 200_000 + " green"] * 3, TokenizerSettings(kind="bpe", vocabulary=300))
    assert len(tokenizer.encode(" green").ids) == 1
