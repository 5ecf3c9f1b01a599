"""`greenllm evaluate`: measure a model's quality on the test split, on the engine that will serve it."""

import argparse
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenllm.config.models import Evaluation
from greenllm.config.read import read_settings
from greenllm.data.prompt_lengths import require_shorter
from greenllm.engines import Completion, Engine, Likelihood, Prompt, ScoresTexts, load_engine
from greenllm.errors import UserError
from greenllm.files import replacing, require_separate, write_json
from greenllm.meter.threads import usable_threads
from greenllm.model_folder.manifest import FILE, read_manifest
from greenllm.tasks import TASKS
from greenllm.tokens import read_tokenizer, vocabulary
from greenllm.work import write_work


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--task", choices=sorted(TASKS), required=True, help="the application, which has the metrics")
    parser.add_argument("--settings", default="{}", help="evaluation settings: JSON or YAML, or a file of it")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--data", type=Path, required=True, help="folder that `greenllm preprocess` wrote")
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "require"], default="auto", help="require: a GPU or nothing"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the metrics, with 95 %% intervals")
    parser.add_argument(
        "--predictions", type=Path, required=True, help="JSONL file of every answer (lengths in tokens)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Answer the test rows; write the metrics and every answer."""
    settings = read_settings(arguments.settings, Evaluation)
    require_separate([arguments.out, arguments.predictions], [arguments.model, arguments.data])
    threads = usable_threads(arguments.threads)
    test = arguments.data / "test.parquet"
    rows = _read_rows(test, settings.rows)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read once, when the libraries are imported
    _check_tokenizer(arguments.model, arguments.data, rows)
    engine = load_engine(arguments.model, threads=threads, device=arguments.device)
    task = TASKS[arguments.task]
    scored = _likelihoods(engine, rows, _whole(rows, arguments.data), settings.batch, test) if task.scores_texts else []
    completions = _answer(engine, rows, settings, test)
    answers = [_line(*parts) for parts in itertools.zip_longest(rows, completions, scored)]

    from greenllm.tasks.quality import quality_of

    quality = quality_of(task, answers, settings.threshold, settings.bootstrap, arguments.seed)
    tokens = sum(completion.tokens for completion in completions)
    with replacing(arguments.predictions) as beside, beside.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    finish = [completion.finish_reason for completion in completions]
    write_json(
        arguments.out,
        {
            "schema": "greenllm/evaluation/1",
            "task": task.name,
            "engine": engine.name,
            "precision": engine.precision,
            "examples": len(rows),
            "seed": arguments.seed,
            "primary": task.primary,
            **quality,
            "bootstrap": settings.bootstrap,
            "tokens": tokens,
            "prompt_tokens": sum(completion.prompt_tokens for completion in completions),
            "finish": {"stop": finish.count("stop"), "length": finish.count("length")},
        },
    )
    flops = _flops(arguments.model, completions, scored)
    write_work(samples=len(rows), tokens=tokens, **({} if flops is None else {"flops": flops}))
    return 0


def _line(row: Mapping[str, Any], completion: Completion, scored: Likelihood | None) -> dict[str, Any]:
    """Return a line of the predictions."""
    line = {
        **row,
        "prediction": completion.text,
        "tokens": completion.tokens,
        "prompt_tokens": completion.prompt_tokens,
        "finish_reason": completion.finish_reason,
        "confidence": completion.confidence,
    }
    if scored is not None:
        line |= {"nats": scored.nats, "scored_tokens": scored.tokens, "scored_bytes": scored.bytes}
    return line


def _read_rows(path: Path, most: int | None) -> list[dict[str, Any]]:
    import pyarrow.parquet

    if not path.is_file():
        raise UserError(f"{path}: no such file; expected the folder that `greenllm preprocess` wrote")
    known = pyarrow.parquet.read_schema(path).names
    columns = ["id", "prompt", "completion", *(name for name in ("subset", "prompt_ids") if name in known)]
    rows = pyarrow.parquet.read_table(path, columns=columns).slice(0, most).to_pylist()
    if not rows:
        raise UserError(f"{path}: no rows to test on; raise preprocess.test_share, or give a test file")
    return rows  # type: ignore[no-any-return]


def _check_tokenizer(model: Path, data: Path, rows: list[dict[str, Any]]) -> None:
    """Raise UserError where prompts are token ids that the model does not know; an endpoint is sent their text."""
    if "prompt_ids" not in rows[0]:
        return
    if read_manifest(model).endpoint is not None:
        for row in rows:
            del row["prompt_ids"]
    elif not vocabulary(data / "tokenizer").items() <= vocabulary(model).items():
        raise UserError(
            f"{data}: its prompts are in the chat template of a model with another tokenizer than {model} has; "
            f"preprocess the data with `--chat --model {model}`"
        )


def _prompt(row: Mapping[str, Any]) -> str:
    return Prompt(row["prompt"], row["prompt_ids"]) if "prompt_ids" in row else row["prompt"]


def _whole(rows: Sequence[Mapping[str, Any]], data: Path) -> list[str]:
    """Return each row's prompt and completion together."""
    if "prompt_ids" not in rows[0]:
        return [row["prompt"] + row["completion"] for row in rows]
    tokenizer = read_tokenizer(data / "tokenizer")
    completions = tokenizer.encode_batch([row["completion"] for row in rows], add_special_tokens=False)
    return [
        Prompt(row["prompt"] + row["completion"], [*row["prompt_ids"], *completion.ids])
        for row, completion in zip(rows, completions, strict=True)
    ]


def _answer(engine: Engine, rows: Sequence[dict[str, Any]], settings: Evaluation, path: Path) -> list[Completion]:
    """Return the answers in the rows' order; answered in order of length, so that batches hold little padding."""
    from tqdm import tqdm

    prompts = [_prompt(row) for row in rows]
    lengths = [engine.count_tokens(prompt) for prompt in prompts]
    require_shorter(lengths, [row["id"] for row in rows], engine.context, str(path))
    order = sorted(range(len(rows)), key=lambda index: -lengths[index])
    answers: dict[int, Completion] = {}
    with tqdm(total=len(rows), unit="row", mininterval=5) as progress:
        for start in range(0, len(order), settings.batch):
            batch = order[start : start + settings.batch]
            some = [prompts[index] for index in batch]
            answers |= zip(batch, engine.generate(some, settings.max_tokens, confidence=True), strict=True)
            progress.update(len(batch))
    return [answers[index] for index in range(len(rows))]


def _likelihoods(
    engine: Engine, rows: Sequence[Mapping[str, Any]], texts: Sequence[str], batch: int, path: Path
) -> list[Likelihood]:
    """Return how likely the engine finds each row's text."""
    if not isinstance(engine, ScoresTexts):
        raise UserError(f"the engine {engine.name} tells no likelihood of a given text; evaluate another task on it")
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    found: dict[int, Likelihood] = {}
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        found |= zip(some, engine.score([texts[index] for index in some]), strict=True)
    if not any(likelihood.tokens for likelihood in found.values()):
        raise UserError(f"{path}: no text of two tokens or more; expected texts that a model could go on with")
    if bad := [str(rows[index]["id"]) for index, likelihood in found.items() if not math.isfinite(likelihood.nats)]:
        raise UserError(
            f"the model gives no likelihood to {len(bad)} of {len(rows)} texts of {path} (row {min(bad)} …): its "
            "weights or activations are not finite; train it anew with a lower learning rate, or in fp32"
        )
    return [found[index] for index in range(len(texts))]


def _flops(folder: Path, completions: Sequence[Completion], scored: Sequence[Likelihood]) -> float | None:
    """Return the operations of all answers and scored texts, each as one pass over its tokens; None where unknown.

    The key-value cache spares earlier tokens from being computed again, so one pass is what answering takes.
    """
    if (folder / FILE).is_file():
        flops = read_manifest(folder).forward_flops
    else:
        from greenllm.model_folder.written import read_config, try_to_count

        model = try_to_count(read_config(folder))
        flops = model.forward if model else None
    if flops is None:
        return None
    # The last token of an answer, or of a scored text, is not read.
    read = [completion.prompt_tokens + completion.tokens - 1 for completion in completions]
    return sum(map(flops.of, [*read, *(likelihood.tokens for likelihood in scored)]))
