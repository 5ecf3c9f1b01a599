"""The tokenizer: trained on the data, or copied from a model."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from greenllm.config.models import TokenizerSettings
from greenllm.data.long_words import with_part_of_long_words
from greenllm.data.pieces import pieces
from greenllm.errors import UserError
from greenllm.tokens import FILE, SETTINGS, read_tokenizer, spelling_special_tokens

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
SPECIAL = [PAD, EOS, UNKNOWN]  # ids 0, 1, 2
BYTES = 256
# A chat of one user message becomes the prompt of the model's training: the text and a line break.
CHAT_TEMPLATE = "{{ messages[-1]['content'] + '\\n' }}"  # Jinja drops a line break at the end of a template
# All tokenizer files that a Hugging Face folder may hold.
TOKENIZER_FILES = (
    FILE, SETTINGS, "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model",
)  # fmt: skip


def train_tokenizer(texts: Iterable[str], settings: TokenizerSettings) -> Tokenizer:
    """Train a tokenizer; a line break is always a separate token, so a prompt's end never merges with its text.

    BPE is trained on a part of very long words (greenllm.data.long_words).
    Raises UserError if the vocabulary is too small for BPE to spell any text.
    """
    match settings.kind:
        case "bpe":
            tokenizer = _bpe(texts, settings.vocabulary, settings.lowercase)
        case "characters":
            tokenizer = _characters(texts, settings.lowercase)
    return spelling_special_tokens(tokenizer)


def _bpe(texts: Iterable[str], vocabulary: int, lowercase: bool) -> Tokenizer:
    least = BYTES + len(SPECIAL)
    if vocabulary < least:
        raise UserError(
            f"preprocess.tokenizer.vocabulary: {vocabulary} is less than the {least} tokens (all bytes and "
            f"{len(SPECIAL)} special ones) that BPE starts from; expected more, or kind: characters"
        )
    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in with_part_of_long_words(texts) for piece in pieces(text)), trainer)
    return tokenizer


def _characters(texts: Iterable[str], lowercase: bool) -> Tokenizer:
    normalizer = normalizers.Lowercase() if lowercase else None
    alphabet = sorted({"\n"}.union(*(normalizer.normalize_str(text) if normalizer else text for text in texts)))
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files of `tokenizers` and transformers' AutoTokenizer; both spell special tokens in texts."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / FILE))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": EOS,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / SETTINGS).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def copy_tokenizer(model: Path, folder: Path) -> Tokenizer:
    """Copy the tokenizer of the model in `model` to `folder` and return it.

    Raises UserError if there is none that `tokenizers` can read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (model / name).is_file():
            shutil.copyfile(model / name, folder / name)
    if not (folder / FILE).is_file():
        _convert(model, folder)
    return read_tokenizer(model if (model / FILE).is_file() else folder)


def _convert(model: Path, folder: Path) -> None:
    """Write the tokenizer.json of a model that has only an older format."""
    from transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(model, trust_remote_code=False).save_pretrained(folder)
    except Exception as error:  # each format fails with different exceptions
        raise UserError(
            f"{model}: no tokenizer that can be read ({' '.join(str(error).split())[:200]}); expected tokenizer.json"
        ) from None
    if not (folder / FILE).is_file():
        raise UserError(f"{model}: no tokenizer.json and none can be made from what is there")
