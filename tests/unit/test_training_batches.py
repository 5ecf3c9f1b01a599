"""Rows as tokens, in batches by length."""

import random

import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from greenllm.errors import UserError
from greenllm.training.batches import Collator, LengthBuckets, Row, read_rows
from greenllm.training.method import weighted_mean
from greenllm.training.parallel import Rank

EOS = 1


@pytest.fixture
def tokenizer():
    """One token per character, a to z and the line break."""
    vocabulary = {"<pad>": 0, "<eos>": EOS, "<unk>": 2, "\n": 3} | {chr(97 + n): 4 + n for n in range(26)}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return characters


def write(path, rows):
    pyarrow.parquet.write_table(
        pyarrow.table({"prompt": [p for p, _ in rows], "completion": [c for _, c in rows]}), path
    )
    return path


def lengths():
    chance = random.Random(7)
    return [chance.randint(5, 80) for _ in range(1000)]


def test_a_row_is_prompt_completion_end(tokenizer, tmp_path):
    rows = read_rows(write(tmp_path / "train.parquet", [("ab\n", "c")]), tokenizer, eos_id=EOS, context=16)
    assert rows.rows == [Row([4, 5, 3, 6, EOS], prompt_length=3)]
    assert rows.truncated == 0


def test_a_long_row_loses_the_beginning_of_its_prompt(tokenizer, tmp_path):
    data = write(tmp_path / "train.parquet", [("abcdef\n", "xy"), ("a\n", "b"), ("ab", "abcdefghijkl")])
    rows = read_rows(data, tokenizer, eos_id=EOS, context=6)
    assert rows.rows[0] == Row([*(tokenizer.encode("ef\n").ids), *(tokenizer.encode("xy").ids), EOS], prompt_length=3)
    assert len(rows.rows[1]) == 4
    assert rows.rows[2] == Row(tokenizer.encode("babcde").ids, prompt_length=1)
    assert rows.truncated == 2


def test_a_prompt_in_a_chat_template_is_read_as_its_ids(tokenizer, tmp_path):
    table = pyarrow.table({"prompt": ["<eos>ab\n"], "prompt_ids": [[EOS, 4, 5, 3]], "completion": ["c"]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    rows = read_rows(tmp_path / "train.parquet", tokenizer, eos_id=EOS, context=16)
    assert rows.rows == [Row([EOS, 4, 5, 3, 6, EOS], prompt_length=4)]


def test_a_missing_file_or_column_is_named(tokenizer, tmp_path):
    with pytest.raises(UserError, match=r"train\.parquet: no such file"):
        read_rows(tmp_path / "train.parquet", tokenizer, eos_id=EOS, context=6)
    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["a"]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match="column completion is missing"):
        read_rows(tmp_path / "train.parquet", tokenizer, eos_id=EOS, context=6)


def test_each_epoch_has_every_row_once_in_different_batches():
    buckets = LengthBuckets(lengths(), batch=32, seed=1)
    first, second = buckets.of_epoch(0), buckets.of_epoch(1)
    for epoch in (first, second):
        assert sorted(row for batch in epoch for row in batch) == list(range(1000))
        assert len(epoch) == len(buckets)
    assert first != second
    assert first == LengthBuckets(lengths(), batch=32, seed=1).of_epoch(0)
    assert first != LengthBuckets(lengths(), batch=32, seed=2).of_epoch(0)
    buckets.set_epoch(1)
    assert list(buckets) == second


def test_batches_hold_little_padding():
    rows = lengths()

    def computed(batches):
        return sum(len(batch) * max(rows[row] for row in batch) for batch in batches)

    in_order = [list(range(start, min(start + 32, 1000))) for start in range(0, 1000, 32)]
    wasted = computed(LengthBuckets(rows, batch=32, seed=1).of_epoch(0)) - sum(rows)
    assert wasted < 0.25 * (computed(in_order) - sum(rows))


def test_long_batches_do_not_all_come_first():
    rows = lengths()
    means = [sum(rows[row] for row in batch) / len(batch) for batch in LengthBuckets(rows, 32, 1).of_epoch(0)]
    half = len(means) // 2
    assert sum(means[:half]) / half == pytest.approx(sum(means[half:]) / (len(means) - half), rel=0.35)


def test_targets_are_one_token_later_and_weighted():
    batch = Collator(pad_id=0, prompt_weight=0.25)(
        [Row([5, 6, 7, EOS], prompt_length=2), Row([8, EOS], prompt_length=1)]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, EOS, 0]]
    assert batch["targets"].tolist() == [[6, 7, EOS], [EOS, 0, 0]]
    assert batch["weights"].tolist() == [[0.25, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [[Row([5, 6, 7, EOS], 2), Row([8] * 9, 1), Row([9, EOS], 1)], [Row([9, 8, EOS], 2)]])
def test_however_a_batch_is_divided_its_loss_is_the_mean_over_all_its_tokens(rows, count):
    def mean_loss(batch):
        return weighted_mean(batch["targets"].float(), batch["weights"]).item()  # the target in place of its loss

    batches = [Collator(pad_id=0, prompt_weight=0.25, rank=Rank(index, count))(rows) for index in range(count)]
    averaged = sum(mean_loss(batch) * batch["share"].item() for batch in batches) / count
    assert averaged == pytest.approx(mean_loss(Collator(pad_id=0, prompt_weight=0.25)(rows)), rel=1e-6)
    assert sum(len(batch["targets"]) for batch in batches if batch["share"]) == len(rows)
