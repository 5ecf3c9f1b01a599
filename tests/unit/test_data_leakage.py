"""Leaks between splits, splits by group, cleaning."""

import random
import string
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit

from greenllm.data.cleaning import clean, normalised
from greenllm.data.leakage import leaking
from greenllm.data.splitting import hold_out
from greenllm.errors import UserError

LONG = "I have been waiting for my new card for more than two weeks and nobody answers the telephone"


def test_equal_and_nearly_equal_texts_are_found():
    texts = ["Where is MY card?", LONG + "s", "How do I change my PIN", "wo ist meine Karte"]
    assert leaking(texts, ["where is my card", LONG], 0.9) == ({0}, {1})
    assert leaking(texts, ["where is my card", LONG], None) == ({0}, set())
    assert leaking(texts, [], 0.9) == (set(), set())


def test_nearly_equal_means_the_jaccard_similarity_of_character_3_grams():
    # 3-grams of " abcdef ": 6; of " abcdeg ": 6; in common 4; Jaccard 4/8.
    assert leaking(["abcdeg"], ["abcdef"], 0.5) == (set(), {0})
    assert leaking(["abcdeg"], ["abcdef"], 0.51) == (set(), set())


@given(
    groups=st.lists(st.sampled_from("abcdefghij"), min_size=2).filter(lambda groups: len(set(groups)) > 1),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 100),
)
def test_no_group_is_on_both_sides(groups, share, seed):
    kept, held = hold_out(groups, share, seed, "test")
    assert sorted(kept + held) == list(range(len(groups)))
    assert kept
    assert held
    assert not {groups[index] for index in kept} & {groups[index] for index in held}
    assert (kept, held) == hold_out(groups, share, seed, "test")


def test_one_group_alone_cannot_be_split():
    with pytest.raises(UserError, match=r"preprocess\.test_share"):
        hold_out(["a", "a"], 0.1, 0, "test")


def test_cleaning_composes_drops_invisible_characters_and_counts_both():
    counts: Counter[str] = Counter()
    assert clean(" cafe\u0301\u200b\x00 au lait\n", counts) == "café au lait"
    assert clean("plain", counts) == "plain"
    assert counts == {"composed": 1, "invisible_characters": 1, "trimmed": 1}


def test_normalised_ignores_case_punctuation_and_spacing():
    assert normalised("Where's  my CARD?!") == normalised("where s my card")
    assert normalised("???") == "???"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=2))
def test_the_same_groups_are_held_out_as_by_scikit_learn(groups):
    if len(set(groups)) < 2:
        return
    number = min(max(1, round(0.3 * len(set(groups)))), len(set(groups)) - 1)
    split = GroupShuffleSplit(n_splits=1, test_size=number, random_state=7)
    kept, held = next(split.split(groups, groups=groups))
    assert hold_out(groups, 0.3, 7, "test") == (sorted(kept), sorted(held))


def test_near_duplicates_of_a_long_text_are_found_in_little_memory():
    long = "".join(random.Random(1).choices(string.ascii_lowercase + "äöüçéèñßøå" + "一二三四五六七八九十", k=200_000))
    tracemalloc.start()
    try:
        found = leaking([long[:-1], LONG], [long], 0.9)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == (set(), {0})
    assert peak < 60e6
