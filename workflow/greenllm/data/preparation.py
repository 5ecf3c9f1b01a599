"""Prepare a collected data set: clean it, split it without leaks, make its tokenizer, report the counts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from greenllm.config.models import Preprocessing
from greenllm.data.cleaning import clean, normalised
from greenllm.data.leakage import leaking
from greenllm.data.prompt_lengths import require_shorter
from greenllm.data.splitting import hold_out
from greenllm.data.tables import read_table, write_table
from greenllm.data.tokenizer import copy_tokenizer, save_tokenizer, train_tokenizer
from greenllm.engines import Prompt
from greenllm.errors import UserError, quoted
from greenllm.files import read_json, replacing_folder, require_replaceable, write_json
from greenllm.tasks import Task

STAGE = "preprocess"
COLUMNS = ("id", "prompt", "completion", "group")
SHOWN = 3  # reasons given where too many rows are bad, each with its first row
NAMED = 1000  # bad rows named in the report
ENCODED = 1000  # rows held as tokens at once, which take a hundred times a text's room

Row = dict[str, Any]


def prepare(
    task: Task,
    settings: Preprocessing,
    data: Path,
    model: Path | None,
    out: Path,
    chat: Callable[[str], Prompt] | None = None,
    *,
    context: int | None = None,
    evaluated_rows: int | None = None,
) -> dict[str, Any]:
    """Write `out`/{train,validation,test}.parquet, tokenizer/ and report.json; return the report.

    `data` is what `collect` wrote, `model` the folder whose tokenizer is taken over (null: one is trained), `chat` what
    puts a prompt into the model's chat template, `context` how many tokens the model has room for (null: unknown).
    Raises UserError where too many rows are bad, nothing is left to train on or to test, or a prompt among the first
    `evaluated_rows` of the test split (null: all) leaves no room for an answer.
    """
    require_replaceable(out, STAGE, [data, model])
    card = read_json(data / "card.json", "expected a folder that `greenllm collect` wrote")
    report: dict[str, Any] = {"schema": "greenllm/preprocessing/1", "task": task.name}
    parts = {name: read_table(data / f"{name}.parquet") for name in _parts(data)}
    files = {file["part"]: file["file"] for file in card["files"]}
    bad = list(card["bad_rows"])
    changes: Counter[str] = Counter()
    usable = {name: _usable(task, name, rows, files[name], bad, changes) for name, rows in parts.items()}
    bad_count = card["bad_row_count"] + len(bad) - len(card["bad_rows"])
    _check_share_of_bad_rows(bad, bad_count, card["rows"] + card["bad_row_count"], settings.most_bad_rows)
    report["rows"] = {"collected": card["rows"] + card["bad_row_count"], "bad": bad_count}
    report["bad_rows"] = bad[:NAMED]
    report["cleaned"] = {name: changes[name] for name in ("composed", "invisible_characters", "trimmed")}

    # A test file is somebody's benchmark: all its rows stay, duplicates too.
    rest, report["rows"]["duplicates_dropped"] = _without_duplicates(usable["train"])
    report["rows"]["contradictory"] = {name: _contradictory(rows) for name, rows in usable.items()}
    if "test" in usable:
        test = usable["test"]
    else:
        kept, held = hold_out([row["group"] for row in rest], settings.test_share, settings.seed, "test")
        rest, test = [rest[index] for index in kept], [rest[index] for index in held]
    near = settings.near_duplicate if card["near_duplicates"] else None
    rest, leaked_test = _without_leaks(rest, test, near, task.compares)
    kept, held = hold_out([row["group"] for row in rest], settings.validation_share, settings.seed, "validation")
    train, validation = [rest[index] for index in kept], [rest[index] for index in held]
    # Here it is the held-out side that gives way: validation only watches the training.
    validation, leaked_validation = _without_leaks(validation, train, near, task.compares)
    splits = {"train": train, "validation": validation, "test": _shuffled(test, settings.seed)}
    for name in ("train", "test"):
        if not splits[name]:
            raise UserError(f"{data}: no rows are left for {name} after cleaning; expected more rows")
    report["leaks"] = {
        "near_duplicate_threshold": near,
        "train_rows_dropped_for_test": leaked_test,
        "validation_rows_dropped_for_train": leaked_validation,
    }
    if chat is not None:
        for rows in splits.values():
            for row in rows:
                prompt = chat(row["prompt"])
                row |= {"prompt": str(prompt), "prompt_ids": list(prompt.ids)}
    with replacing_folder(out, STAGE) as folder:
        for name, rows in splits.items():
            subset = ("subset",) if any("subset" in row for row in rows) else ()
            ids = () if chat is None else ("prompt_ids",)
            write_table(folder / f"{name}.parquet", (*COLUMNS, *subset, *ids), rows)
        if replies := task.replies if card["source"] == "embedded" else _replies(usable["train"], files["train"]):
            write_json(folder / "replies.json", {"hand_over": task.hand_over, "replies": replies})
        if model is None:
            texts = [text for row in train for text in (row["prompt"], row["completion"])]
            tokenizer = train_tokenizer(texts, settings.tokenizer)
            save_tokenizer(tokenizer, folder / "tokenizer")
        else:
            tokenizer = copy_tokenizer(model, folder / "tokenizer")
        if context is not None:
            evaluated = splits["test"][:evaluated_rows]
            around = tokenizer.num_special_tokens_to_add(is_pair=False)
            lengths = [int(length) + around for length in _prompt_lengths(evaluated, tokenizer)]
            require_shorter(lengths, [row["id"] for row in evaluated], context, str(data))
        report["tokenizer"] = {
            "origin": "trained" if model is None else "model",
            "kind": settings.tokenizer.kind if model is None else None,
            "vocabulary": tokenizer.get_vocab_size(),
        }
        report["splits"] = {name: _described(rows, tokenizer) for name, rows in splits.items()}
        write_json(folder / "report.json", report)
    return report


def _parts(data: Path) -> list[str]:
    return ["train", "test"] if (data / "test.parquet").exists() else ["train"]


def _usable(
    task: Task,
    part: str,
    rows: Sequence[Mapping[str, Any]],
    file: str,
    bad: list[dict[str, Any]],
    changes: Counter[str],
) -> list[Row]:
    """Return the rows in the task's format; those left without a prompt or a completion join `bad`."""
    usable = []
    for row in rows:
        texts = {name: clean(row[name], changes) for name in task.columns}
        empty = [name for name, text in texts.items() if not text]
        if empty:
            reason = f"the {' and the '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty"
            bad.append({"file": file, "row": row["row"], "reason": reason})
            continue
        usable.append(
            {
                "id": f"{part}-{row['row']}",
                "prompt": task.prompt(texts),
                "completion": task.completion(texts),
                "group": row.get("group") or normalised(texts[task.columns[0]]),
                **{name: row[name] for name in ("subset", "reply") if row.get(name)},
            }
        )
    return usable


def _replies(rows: Sequence[Row], file: str) -> dict[str, str]:
    """Return the reply to each completion, where the rows have a column of them."""
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


def _check_share_of_bad_rows(bad: Sequence[Mapping[str, Any]], count: int, rows: int, most: float) -> None:
    if count <= most * rows:
        return
    first: dict[str, Mapping[str, Any]] = {}
    for row in bad:
        first.setdefault(row["reason"], row)
    named = list(first.values())[:SHOWN]
    shown = "; ".join(f"{row['file']}: row {row['row']}: {row['reason']}" for row in named)
    raise UserError(
        f"{count:,} of {rows:,} rows can't be used, more than preprocess.most_bad_rows allows ({most:.2%}); "
        f"mend them or raise it: {shown}" + ("; …" if count > len(named) else "")
    )


def _without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], int]:
    first = {(row["prompt"], row["completion"]): row for row in reversed(rows)}
    kept = [row for row in rows if first[row["prompt"], row["completion"]] is row]
    return kept, len(rows) - len(kept)


def _contradictory(rows: Sequence[Row]) -> int:
    """Return how many rows have a prompt that also stands with another completion; they are kept."""
    completions: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        completions[row["prompt"]].add(row["completion"])
    return sum(len(completions[row["prompt"]]) > 1 for row in rows)


def _without_leaks(
    rows: Sequence[Row], against: Sequence[Row], near: float | None, columns: Sequence[str]
) -> tuple[list[Row], dict[str, int]]:
    """Return the rows that are in no group of `against`, and whose `columns` neither equal nor nearly equal those."""
    groups = {row["group"] for row in against}
    apart = [row for row in rows if row["group"] not in groups]
    texts, held_out = (["".join(row[name] for name in columns) for row in some] for some in (apart, against))
    equal, nearly = leaking(texts, held_out, near)
    kept = [row for index, row in enumerate(apart) if index not in equal and index not in nearly]
    counts = {"same_group": len(rows) - len(apart), "equal": len(equal), "nearly_equal": len(nearly)}
    return kept, counts


def _shuffled(rows: Sequence[Row], seed: int) -> list[Row]:
    """Return the rows in a random order, so that the first ones are a fair sample; the ids tell the old order."""
    return [rows[index] for index in np.random.default_rng(seed).permutation(len(rows))]


def _lengths(rows: Sequence[Row], column: str, tokenizer: Tokenizer) -> Any:
    """Return the lengths of a column's texts in tokens, without those that the tokenizer puts around a text."""
    found: list[int] = []
    for start in range(0, len(rows), ENCODED):
        texts = [row[column] for row in rows[start : start + ENCODED]]
        found += map(len, tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    return np.array(found)


def _prompt_lengths(rows: Sequence[Row], tokenizer: Tokenizer) -> Any:
    """Return the lengths of the prompts, as `_lengths` does."""
    if rows and "prompt_ids" in rows[0]:
        around = tokenizer.num_special_tokens_to_add(is_pair=False)
        return np.array([len(row["prompt_ids"]) - around for row in rows])
    return _lengths(rows, "prompt", tokenizer)


def _described(rows: Sequence[Row], tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the number of rows and groups, and how long they are in tokens (with the end token)."""
    if not rows:
        return {"rows": 0, "groups": 0, "tokens": None}

    prompts, completions = _prompt_lengths(rows, tokenizer), _lengths(rows, "completion", tokenizer)
    totals = prompts + completions + 1
    percentiles = {
        name: {f"p{share}": int(np.percentile(values, share, method="higher")) for share in (50, 95, 99)}
        | {"longest": int(values.max())}
        for name, values in (("prompt", prompts), ("completion", completions), ("row", totals))
    }
    return {
        "rows": len(rows),
        "groups": len({row["group"] for row in rows}),
        "completions": len({row["completion"] for row in rows}),
        "tokens": {"sum": int(totals.sum()), **percentiles},
    }
