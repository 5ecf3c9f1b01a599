"""Prepare a collected data set: clean it, split it without leaks, make its tokenizer, report the counts."""

import itertools
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from greenllm.config.models import Preprocessing, TokenizerSettings
from greenllm.data.cleaning import clean, normalised
from greenllm.data.leakage import leaking
from greenllm.data.long_rows import CutDropOrRefuse, beyond_context, report_long_rows
from greenllm.data.prompt_lengths import require_shorter
from greenllm.data.row_lengths import RowLengths
from greenllm.data.splitting import hold_out
from greenllm.data.tables import read_table, write_table
from greenllm.data.tokenizer import copy_tokenizer, save_tokenizer, train_tokenizer
from greenllm.documents.card import BadRow, DataCard
from greenllm.documents.harness import FILE as HARNESS
from greenllm.documents.harness import HarnessSelection
from greenllm.documents.preparation import (
    Leaks,
    LongRows,
    PreparationReport,
    PreparedTokenizer,
    RowCounts,
    SplitCounts,
    TokenCounts,
)
from greenllm.engines import PromptError
from greenllm.errors import UserError, quoted
from greenllm.files import replacing_folder, require_replaceable, write_json
from greenllm.tasks import Task
from greenllm.tasks.conversation import from_json

if TYPE_CHECKING:
    from greenllm.data.chat import PromptTemplate

STAGE = "preprocess"
COLUMNS = ("id", "prompt", "completion", "group")
SHOWN = 3  # reasons in the message about too many bad rows, each with its first row
NAMED = 1000  # bad rows that the report lists

Row = dict[str, Any]


def prepare(
    task: Task,
    settings: Preprocessing,
    data: Path,
    model: Path | None,
    out: Path,
    chat: "PromptTemplate | None" = None,
    *,
    context: int | None = None,
    evaluated_rows: int | None = None,
    system: str | None = None,
) -> PreparationReport:
    """Write `out`/{train,validation,test}.parquet, tokenizer/ and report.json; return the report.

    `data` is what `collect` wrote, `model` the folder whose tokenizer is used (None: one is trained), `chat` is the
    model's chat template for prompts, with the message `system`, `context` is the model's longest sequence in tokens
    (None: unknown).
    Raises UserError if too many rows are bad, no row is left to train or to test on, a prompt among the first
    `evaluated_rows` of the test split (None: all) leaves no room for an answer, rows are longer than the context and
    `settings` refuse that, or conversations have no chat template.
    """
    require_replaceable(out, STAGE, [data, model])
    _require_what_rows_need(task, settings, chat, context)
    card = DataCard.read(data / "card.json", "expected a folder that `greenllm collect` wrote")
    files = {file.part: file.file for file in card.files}
    bad = list(card.bad_rows)
    changes: Counter[str] = Counter()
    usable = {
        name: _usable(task, name, read_table(data / f"{name}.parquet"), files[name], bad, changes, chat)
        for name in _parts(data)
    }
    bad_count = card.bad_row_count + len(bad) - len(card.bad_rows)
    collected = card.rows + card.bad_row_count
    _check_share_of_bad_rows(bad, bad_count, collected, settings.most_bad_rows)
    near = settings.near_duplicate if card.near_duplicates else None
    unique, duplicates = _without_duplicates(usable.get("train", []))
    splits, leaks = _split(unique, usable.get("test"), task, settings, near)
    selection = _harness_selection(card, data)
    needed = _parts(data) if selection else ["train", "test"]
    _require_rows(splits, needed, f"{data}: no rows are left for {{}} after cleaning")
    for row in itertools.chain(*splits.values()):
        row |= row.pop("rendered")  # leaks and duplicates are found without the template's text
    with replacing_folder(out, STAGE) as folder:
        tokenizer = _tokenizer(model, splits["train"], settings.tokenizer, folder / "tokenizer")
        if selection and chat is None and context is not None:
            _keep_ends(splits["test"], tokenizer, context, data)
        splits, lengths, long = _within_context(
            splits, tokenizer, context, settings.long_rows, needed, evaluated_rows, data
        )
        for name, rows in splits.items():
            write_table(folder / f"{name}.parquet", _columns(rows, task, chat), rows)
        if selection:
            selection.extended(chat=chat is not None, system=system).write(folder / HARNESS)
        elif replies := task.replies if card.source == "embedded" else _replies(usable["train"], files["train"]):
            write_json(folder / "replies.json", {"hand_over": task.hand_over, "replies": replies})
        report = PreparationReport(
            task=task.name,
            rows=RowCounts(
                collected=collected,
                bad=bad_count,
                duplicates_dropped=duplicates,
                contradictory={name: _contradictory(rows) for name, rows in usable.items()},
            ),
            bad_rows=bad[:NAMED],
            cleaned={name: changes[name] for name in ("composed", "invisible_characters", "trimmed")},
            leaks=leaks,
            **({} if long is None else {"long_rows": long}),
            tokenizer=PreparedTokenizer(
                origin="trained" if model is None else "model",
                kind=settings.tokenizer.kind if model is None else None,
                vocabulary=tokenizer.get_vocab_size(),
            ),
            splits={name: _described(rows, lengths[name]) for name, rows in splits.items()},
        )
        report.write(folder / "report.json")
    return report


def _harness_selection(card: DataCard, data: Path) -> HarnessSelection | None:
    """Return which tasks of the harness the data are; None if they are of another source."""
    if card.source != "harness":
        return None
    return HarnessSelection.read(data / HARNESS, "expected a folder that `greenllm collect` wrote")


def _require_what_rows_need(
    task: Task, settings: Preprocessing, chat: "PromptTemplate | None", context: int | None
) -> None:
    if context is None and settings.long_rows != "cut":
        raise UserError(
            f"preprocess.long_rows: {settings.long_rows} needs the model's context, which is unknown; expected cut, or "
            "--context TOKENS"
        )
    if task.has_conversations and chat is None:
        raise UserError(
            f"the task {task.name} needs a model's chat template; add --chat and --model (model.chat: true)"
        )


def _within_context(
    splits: dict[str, list[Row]],
    tokenizer: Tokenizer,
    context: int | None,
    long_rows: CutDropOrRefuse,
    needed: Sequence[str],
    evaluated_rows: int | None,
    data: Path,
) -> tuple[dict[str, list[Row]], dict[str, RowLengths], LongRows | None]:
    """Return the splits, their lengths, and which rows are longer than the context (None: it is unknown).

    Raises UserError if such rows are refused, or a prompt of the evaluated rows leaves no room for an answer.
    """
    lengths = {name: RowLengths.of(rows, tokenizer) for name, rows in splits.items()}
    if context is None:
        return splits, lengths, None
    found = beyond_context(lengths, context)
    long = report_long_rows(splits, lengths, found, context, long_rows, str(data))
    if long_rows == "drop":
        splits, lengths = _dropped(splits, lengths, found)
        _require_rows(splits, needed, f"{data}: no rows are left for {{}} that fit the context of {context} tokens")
    _require_room(splits["test"][:evaluated_rows], lengths["test"], context, data)
    return splits, lengths, long


def _split(
    unique: Sequence[Row], test: Sequence[Row] | None, task: Task, settings: Preprocessing, near: float | None
) -> tuple[dict[str, list[Row]], Leaks]:
    """Return the splits: rows to train, validate and test on, without leaks, and what was dropped for that.

    `test` are the source's own test rows (None: it has none). They are a benchmark: all stay, duplicates too.
    """
    rest = list(unique)
    if test is None:
        kept, held = hold_out([row["group"] for row in rest], settings.test_share, settings.seed, "test")
        rest, test = [rest[index] for index in kept], [rest[index] for index in held]
    rest, leaked_test = _without_leaks(rest, test, near, task.compares)
    validation_share = settings.validation_share if rest else 0
    kept, held = hold_out([row["group"] for row in rest], validation_share, settings.seed, "validation")
    train, validation = [rest[index] for index in kept], [rest[index] for index in held]
    # Here the held-out side loses rows: validation only monitors the training.
    validation, leaked_validation = _without_leaks(validation, train, near, task.compares)
    leaks = Leaks(
        near_duplicate_threshold=near,
        train_rows_dropped_for_test=leaked_test,
        validation_rows_dropped_for_train=leaked_validation,
    )
    return {"train": train, "validation": validation, "test": _shuffled(test, settings.seed)}, leaks


def _keep_ends(rows: Sequence[Row], tokenizer: Tokenizer, context: int, data: Path) -> None:
    """Cut prompts that leave no room for an answer to their last half context, as the harness cuts its own requests."""
    cut = 0
    for row in rows:
        spans = tokenizer.encode(row["prompt"]).offsets
        if len(spans) >= context:
            row["prompt"] = row["prompt"][spans[-(context // 2)][0] :]
            cut += 1
    if cut:
        print(
            f"{data}: {cut:,} of {len(rows):,} contexts leave no room for an answer in the model's context of "
            f"{context} tokens; the load sends their ends, of {context // 2} tokens",
            file=sys.stderr,
        )


def _require_rows(splits: Mapping[str, Sequence[Row]], needed: Sequence[str], message: str) -> None:
    for name in needed:
        if not splits[name]:
            raise UserError(f"{message.format(name)}; expected more rows")


def _require_room(rows: Sequence[Row], lengths: RowLengths, context: int, data: Path) -> None:
    """Raise UserError if a prompt leaves no room for an answer in `context` tokens."""
    prompts = [int(length) + lengths.around for length in lengths.prompts[: len(rows)]]
    require_shorter(prompts, [row["id"] for row in rows], context, str(data))


def _dropped(
    splits: Mapping[str, list[Row]], lengths: Mapping[str, RowLengths], long: Mapping[str, Sequence[int]]
) -> tuple[dict[str, list[Row]], dict[str, RowLengths]]:
    """Return the splits and their lengths without the rows that are too long."""
    kept = {name: sorted(set(range(len(rows))) - set(long[name])) for name, rows in splits.items()}
    return (
        {name: [rows[index] for index in kept[name]] for name, rows in splits.items()},
        {name: of.take(kept[name]) for name, of in lengths.items()},
    )


def _rendered(row: Row, chat: "PromptTemplate") -> Row:
    """Return the columns of a row's prompt, or of its whole conversation, in the chat template.

    Raises PromptError if the template refuses it.
    """
    if "messages" not in row:
        prompt = chat.prompt(row["prompt"])
        return {"prompt": str(prompt), "prompt_ids": list(prompt.ids)}
    conversation = chat.conversation(from_json(row["messages"]))
    prompt = conversation.prompt
    turns = [place for turn in conversation.turns for place in turn]
    return {"prompt": str(prompt), "prompt_ids": list(prompt.ids), "ids": conversation.ids, "turns": turns}


def _columns(rows: Sequence[Row], task: Task, chat: "PromptTemplate | None") -> tuple[str, ...]:
    subset = ("subset",) if any("subset" in row for row in rows) else ()
    choices = ("choices",) if task.has_choices else ()
    ids = () if chat is None else ("prompt_ids",)
    return (*COLUMNS, *subset, *choices, *ids, *(("ids", "turns") if task.has_conversations else ()))


def _tokenizer(model: Path | None, train: Sequence[Row], settings: TokenizerSettings, folder: Path) -> Tokenizer:
    """Write the model's tokenizer, or one trained on the rows, to `folder`; return it."""
    if model is not None:
        return copy_tokenizer(model, folder)
    tokenizer = train_tokenizer([text for row in train for text in (row["prompt"], row["completion"])], settings)
    save_tokenizer(tokenizer, folder)
    return tokenizer


def _parts(data: Path) -> list[str]:
    found = [part for part in ("train", "test") if (data / f"{part}.parquet").exists()]
    return found or ["train"]


def _usable(
    task: Task,
    part: str,
    rows: Sequence[Mapping[str, Any]],
    file: str,
    bad: list[BadRow],
    changes: Counter[str],
    chat: "PromptTemplate | None",
) -> list[Row]:
    """Return the rows in the task's format; those that the task can't use, such as empty ones, are added to `bad`.

    What the chat template makes of a row is in its `rendered`.
    """
    usable = []
    for row in rows:
        try:
            texts = task.cleaned(row, partial(clean, counts=changes))
            written = {"prompt": task.prompt(texts), "completion": task.completion(texts)}
            choices = {"choices": json.dumps(task.choices(texts), ensure_ascii=False)} if task.has_choices else {}
            conversation = {"messages": texts["messages"]} if task.has_conversations else {}
            rendered = {} if chat is None else _rendered({**written, **conversation}, chat)
        except (ValueError, PromptError) as error:
            bad.append(BadRow(file, row["row"], str(error)))
            continue
        usable.append(
            {
                "id": f"{part}-{row['row']}",
                **written,
                **choices,
                "group": row.get("group") or normalised(task.subject(texts)),
                **{name: row[name] for name in ("subset", "reply") if row.get(name)},
                "rendered": rendered,
            }
        )
    return usable


def _replies(rows: Sequence[Row], file: str) -> dict[str, str]:
    """Return the reply to each completion, if the rows have a column of replies."""
    replies: dict[str, str] = {}
    for row in rows:
        if reply := row.get("reply"):
            known = replies.setdefault(row["completion"], reply)
            if known != reply:
                raise UserError(
                    f"{file}: row {row['id'].rpartition('-')[2]}: {quoted(row['completion'])} has another reply "
                    f"here ({quoted(reply)}) than before ({quoted(known)}); expected one for each completion"
                )
    return replies


def _check_share_of_bad_rows(bad: Sequence[BadRow], count: int, rows: int, most: float) -> None:
    if count <= most * rows:
        return
    first: dict[str, BadRow] = {}
    for row in bad:
        first.setdefault(row.reason, row)
    named = list(first.values())[:SHOWN]
    shown = "; ".join(map(str, named))
    raise UserError(
        f"{count:,} of {rows:,} rows can't be used, more than preprocess.most_bad_rows allows ({most:.2%}); "
        f"mend them or raise it: {shown}" + ("; …" if count > len(named) else "")
    )


def _without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], int]:
    first = {_content(row): row for row in reversed(rows)}
    kept = [row for row in rows if first[_content(row)] is row]
    return kept, len(rows) - len(kept)


def _content(row: Row) -> tuple[str, ...]:
    """Return what two equal rows have in common: of rows with choices, these too."""
    return row["prompt"], row["completion"], row.get("choices", "")


def _contradictory(rows: Sequence[Row]) -> int:
    """Return the number of rows with a prompt that also has another completion; they are kept."""
    completions: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        completions[row["prompt"]].add(row["completion"])
    return sum(len(completions[row["prompt"]]) > 1 for row in rows)


def _without_leaks(
    rows: Sequence[Row], against: Sequence[Row], near: float | None, columns: Sequence[str]
) -> tuple[list[Row], dict[str, int]]:
    """Return the rows that are in no group of `against`, their `columns` neither equal nor nearly equal."""
    groups = {row["group"] for row in against}
    apart = [row for row in rows if row["group"] not in groups]
    texts, held_out = (["".join(row[name] for name in columns) for row in some] for some in (apart, against))
    equal, nearly = leaking(texts, held_out, near)
    kept = [row for index, row in enumerate(apart) if index not in equal and index not in nearly]
    counts = {"same_group": len(rows) - len(apart), "equal": len(equal), "nearly_equal": len(nearly)}
    return kept, counts


def _shuffled(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the rows in a random order, so that the first ones are a fair sample; the ids have the old order."""
    return [rows[index] for index in np.random.default_rng(seed).permutation(len(rows))]


def _described(rows: Sequence[Row], lengths: RowLengths) -> SplitCounts:
    """Return the number of rows and groups, and their lengths in tokens (with the end token)."""
    if not rows:
        return SplitCounts(rows=0, groups=0, tokens=None)

    percentiles = {
        name: {f"p{share}": int(np.percentile(values, share, method="higher")) for share in (50, 95, 99)}
        | {"longest": int(values.max())}
        for name, values in (("prompt", lengths.prompts), ("completion", lengths.completions), ("row", lengths.rows))
    }
    return SplitCounts(
        rows=len(rows),
        groups=len({row["group"] for row in rows}),
        completions=len({row["completion"] for row in rows}),
        tokens=TokenCounts(sum=int(lengths.rows.sum()), **percentiles),
    )
