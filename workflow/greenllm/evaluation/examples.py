"""The examples of the test split, and the prompts and texts that an engine gets."""

import json
from collections.abc import Sequence
from pathlib import Path

from greenllm.documents.prediction import Example
from greenllm.engines import Prompt
from greenllm.errors import UserError
from greenllm.model_folder.manifest import read_manifest
from greenllm.tokens import read_tokenizer, vocabulary


def read_examples(data: Path, model: Path, most: int | None) -> list[Example]:
    """Return the first `most` examples of a folder of `greenllm preprocess` (None: all), for the model in a folder.

    An endpoint gets the prompts as text only. Raises UserError if there are no examples, or their prompts are token ids
    that the model does not have.
    """
    import pyarrow.parquet

    path = data / "test.parquet"
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected the folder that `greenllm preprocess` wrote")
    known = pyarrow.parquet.read_schema(path).names
    with_ids = "prompt_ids" in known and read_manifest(model).endpoint is None
    columns = ["id", "prompt", "completion", *(name for name in ("subset", "choices") if name in known)]
    columns += ["prompt_ids"] if with_ids else []
    rows = pyarrow.parquet.read_table(path, columns=columns).slice(0, most).to_pylist()
    if not rows:
        raise UserError(f"{path}: no rows to test on; raise preprocess.test_share, or specify a test file")
    if with_ids and not vocabulary(data / "tokenizer").items() <= vocabulary(model).items():
        raise UserError(
            f"{data}: its prompts are in the chat template of a model with another tokenizer than {model} has; "
            f"preprocess the data with `--chat --model {model}`"
        )
    return [Example(**row | ({"choices": json.loads(row["choices"])} if "choices" in row else {})) for row in rows]


def engine_prompt(example: Example) -> str:
    """Return an example's prompt for an engine, with its token ids if it has any."""
    return example.prompt if example.prompt_ids is None else Prompt(example.prompt, example.prompt_ids)


def whole_texts(examples: Sequence[Example], data: Path) -> list[str]:
    """Return the prompt and completion of each example as one text, with token ids if the prompt has them."""
    if examples[0].prompt_ids is None:
        return [example.prompt + example.completion for example in examples]
    tokenizer = read_tokenizer(data / "tokenizer")
    completions = tokenizer.encode_batch([example.completion for example in examples], add_special_tokens=False)
    return [
        Prompt(example.prompt + example.completion, [*(example.prompt_ids or ()), *completion.ids])
        for example, completion in zip(examples, completions, strict=True)
    ]
