"""A prepared data set that a model of about a hundred thousand parameters learns in seconds: name the first colour."""

import json
import random
from pathlib import Path

import pyarrow
import pyarrow.parquet
from tokenizers import Tokenizer, models, pre_tokenizers

COLOURS = ["red", "blue", "green", "white"]
FILLERS = ["a", "the", "and", "of", "with"]
WORDS = ["<pad>", "<eos>", "<unk>", "\n", *COLOURS, *FILLERS, *(colour.upper() for colour in COLOURS)]
TRAINING = {"epochs": 3, "batch": 16, "evaluations": 3, "learning_rate": 5e-3}
MODEL = {"size": "tiny", "context": 32}


def rows(split: str, count: int) -> list[dict[str, str]]:
    chance = random.Random(split)
    made = []
    for number in range(count):
        words = [chance.choice(COLOURS), *(chance.choice(FILLERS) for _ in range(chance.randint(1, 8)))]
        chance.shuffle(words)
        colour = next(word for word in words if word in COLOURS)
        made.append(
            {
                "id": f"{split}-{number}",
                "prompt": " ".join(words) + " \n",
                "completion": colour.upper(),
                "group": str(number),
            }
        )
    return made


def write_prepared(folder: Path, *, train: int = 400, validation: int = 40, test: int = 50) -> Path:
    """Write what `greenllm preprocess` would: three splits and a tokenizer with one token per word."""
    (folder / "tokenizer").mkdir(parents=True)
    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("id", "prompt", "completion", "group")])
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        table = pyarrow.Table.from_pylist(rows(split, count), schema=schema)
        pyarrow.parquet.write_table(table, folder / f"{split}.parquet")
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def train_command(data: Path, folder: Path, *options: str, model: object = MODEL, **settings: object) -> list[str]:
    """Return the arguments of `greenllm train` from `data` to `folder`/model with checkpoints beside it."""
    command = ["train", "--settings", json.dumps(TRAINING | settings), "--data", str(data), "--device", "cpu"]
    command += ["--checkpoints", str(folder / "checkpoints"), "--out", str(folder / "model")]
    return [*command, *(["--model", json.dumps(model)] if model else []), *options]
