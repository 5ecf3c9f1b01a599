"""Prepared rows as tokens, in batches of rows of similar length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenllm.errors import UserError
from greenllm.training.parallel import ALONE, Rank

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Row:
    """One row as token ids: the prompt, the completion and the end token.

    Of a conversation, `turns` are the spans (start, end) of the assistant's turns: only these are learned. The prompt
    is then what precedes the first of them.
    """

    ids: list[int]
    prompt_length: int
    turns: tuple[tuple[int, int], ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def weight(self, prompt_weight: float) -> float:
        """Return the sum of the weights of the row's targets; the first token is not one."""
        if self.turns is not None:
            return float(sum(end - max(start, 1) for start, end in self.turns))
        asked = max(self.prompt_length - 1, 0)
        return prompt_weight * asked + len(self) - 1 - asked


@dataclass(frozen=True)
class Rows:
    """A split as tokens; `truncated` counts the rows that were longer than the context."""

    rows: list[Row]
    truncated: int


def read_rows(path: Path, tokenizer: "Tokenizer", *, eos_id: int, context: int) -> Rows:
    """Read the rows of a Parquet file as tokens; the ids of prompts and conversations in it are taken as they are.

    A row longer than `context` tokens is cut at the beginning of its prompt, which is farthest from the answer. If the
    completion alone is too long, it is cut at its end; one prompt token is kept if there was one.

    Raises `UserError` if the file or a column is missing.
    """
    import pyarrow.parquet

    if not path.is_file():
        raise UserError(f"{path}: no such file; expected the folder that `greenllm preprocess` wrote")
    known = pyarrow.parquet.read_schema(path).names
    if missing := [name for name in ("prompt", "completion") if name not in known]:
        raise UserError(f"{path}: column {missing[0]} is missing; expected what `greenllm preprocess` writes")
    if "turns" in known:
        return _conversations(path, context)
    asked = "prompt_ids" if "prompt_ids" in known else "prompt"  # from a chat template
    table = pyarrow.parquet.read_table(path, columns=[asked, "completion"])
    prompts = table[asked].to_pylist()
    questions = prompts if asked == "prompt_ids" else [one.ids for one in tokenizer.encode_batch(prompts)]
    completions = tokenizer.encode_batch(table["completion"].to_pylist(), add_special_tokens=False)
    rows, truncated = [], 0
    for question, completion in zip(questions, completions, strict=True):
        answer = [*completion.ids, eos_id]
        if len(question) + len(answer) > context:
            truncated += 1
            answer = answer[: context - min(len(question), 1)]
            question = question[len(question) + len(answer) - context :]
        rows.append(Row(question + answer, len(question)))
    return Rows(rows, truncated)


def _conversations(path: Path, context: int) -> Rows:
    """Read whole conversations; a long one is cut as other rows are, the assistant's last turn being the completion."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path, columns=["ids", "turns"])
    rows, truncated = [], 0
    for ids, places in zip(table["ids"].to_pylist(), table["turns"].to_pylist(), strict=True):
        turns = list(zip(places[::2], places[1::2], strict=True))
        start = max(0, min(len(ids) - context, turns[-1][0] - 1))
        truncated += len(ids) > context
        ids = ids[start : start + context]
        within = [(max(first - start, 0), min(end - start, len(ids))) for first, end in turns if end > start]
        kept = tuple((first, end) for first, end in within if first < end)
        rows.append(Row(ids, kept[0][0], kept))
    return Rows(rows, truncated)


class LengthBuckets:
    """Batches of rows of similar length, in an order that depends on seed and epoch alone.

    Each epoch shuffles the rows, sorts runs of 50 batches by length and shuffles the batches. So there is little
    padding, and each epoch has different batches. A training that resumes within an epoch gets the same batches; one
    that has `ended` gets none.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self.lengths = list(lengths)
        self.batch_size = batch
        self.seed = seed
        self.epoch = 0
        self.ended = False

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next batches; the training loop calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(() if self.ended else self.of_epoch(self.epoch))

    def of_epoch(self, epoch: int) -> list[list[int]]:
        """Return the row numbers of each batch of an epoch."""
        import torch
        from transformers.trainer_pt_utils import get_length_grouped_indices

        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        return [batches[index] for index in torch.randperm(len(batches), generator=generator)]


@dataclass(frozen=True)
class Collator:
    """Makes a batch's tensors: `input_ids`, the `targets` one token later, and the weight of each target in the loss.

    Each of n processes that train together takes every n-th row, so that all get rows of similar length. `share` is n
    times the part of the batch's token weight that this process has. Gradients are averaged over the processes; with
    each mean loss multiplied by its share, the average is the mean over all tokens of the batch.
    """

    pad_id: int
    prompt_weight: float
    rank: Rank = ALONE

    def __call__(self, rows: Sequence[Row]) -> "dict[str, torch.Tensor]":
        """Return tensors of shape (rows, longest − 1), padded on the right with weight 0, and the scalar `share`.

        No attention mask is needed: with causal attention no token sees the padding after it.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        own = rows[self.rank.index :: self.rank.count]
        weight, all_weight = self._weight(own), self._weight(rows)
        own = own or rows[:1]  # This rank has no row: run one anyway (share 0) so that collectives stay in step.
        ids = pad_sequence([torch.tensor(row.ids) for row in own], batch_first=True, padding_value=self.pad_id)
        lengths = torch.tensor([len(row) for row in own])
        prompts = torch.tensor([row.prompt_length for row in own])
        position = torch.arange(1, ids.shape[1])  # of the targets
        weights = torch.where(position < prompts[:, None], self.prompt_weight, 1.0)
        for number, row in enumerate(own):
            if row.turns is not None:
                weights[number] = 0
                for start, end in row.turns:
                    weights[number, max(start - 1, 0) : end - 1] = 1
        return {
            "input_ids": ids[:, :-1].contiguous(),
            "targets": ids[:, 1:].contiguous(),
            "weights": weights * (position < lengths[:, None]),
            "share": torch.tensor(self.rank.count * weight / all_weight if all_weight else 1.0),
        }

    def _weight(self, rows: Sequence[Row]) -> float:
        """Return the sum of the weights of all targets in the rows."""
        return sum(row.weight(self.prompt_weight) for row in rows)
