"""Tokens to text piece by piece, and chat templates, without a model."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from greenllm.engines import PromptError
from greenllm.engines.text import Detokenizer, Text
from greenllm.errors import UserError

CHAT = [{"role": "user", "content": "Hello"}]


def write_tokenizer(folder: Path, **settings: object) -> Tokenizer:
    """A byte-level tokenizer that knows single bytes only, so that most Chinese characters take three tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), vocab_size=258
    )
    tokenizer.train_from_iterator([], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"} | settings))
    return tokenizer


def test_characters_of_several_tokens_are_not_split(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    answer = Detokenizer(Text(tmp_path))
    pieces = [answer.add(token) for token in tokenizer.encode("银行 né").ids]
    assert "".join(pieces) == "银行 né" == answer.text
    assert pieces == ["", "", "银", "", "", "行", " ", "n", "", "é"]
    assert answer.rest() == ""


def test_an_answer_cut_inside_a_character_is_shown_to_its_end(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    answer = Detokenizer(Text(tmp_path))
    shown = "".join(answer.add(token) for token in tokenizer.encode("a银").ids[:-1])
    assert shown == "a"
    assert shown + answer.rest() == answer.text == "a\ufffd"


def test_bytes_that_are_no_character_do_not_undo_shown_text(tmp_path: Path) -> None:
    """Where a tokenizer falls back to bytes, as Llama 2's does, its decoder reads a run of bytes as a whole."""
    names = ["<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "a", "▁a"]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    text = Text(tmp_path)
    for tokens, expected in (
        (["a", "<0x0A>", "<0xF0>", "a"], "a\n\N{REPLACEMENT CHARACTER}a"),
        (["<0x0A>", "<0xF0>", "▁a", "<0xC3>", "<0xA9>"], "\n\N{REPLACEMENT CHARACTER} aé"),
        (["<0x0A>", "<0xF0>"], "\n\N{REPLACEMENT CHARACTER}"),
        (["<0xC3>", "<0xA9>", "<0xC3>", "<0xA9>"], "éé"),
    ):
        answer = Detokenizer(text)
        pieces = [answer.add(names.index(token)) for token in tokens]
        assert "".join(pieces) + answer.rest() == expected == answer.text


def test_special_tokens_are_not_text(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    answer = Detokenizer(Text(tmp_path))
    assert "".join(answer.add(token) for token in tokenizer.encode("<s>a</s>").ids) == "a" == answer.text


def test_a_first_token_that_template_and_tokenizer_both_write_is_there_once(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path, chat_template="{{ bos_token }}{{ messages[0]['content'] }}")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = Text(tmp_path)
    prompt = text.chat_prompt(CHAT)
    assert prompt == "<s>Hello"
    assert text.prompt_ids(prompt) == text.prompt_ids("Hello")
    assert text.prompt_ids("Hello").count(0) == 1


def test_padding_and_truncation_that_training_left_behind_are_not_applied(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    text = Text(tmp_path)
    assert len(text.prompt_ids("ab")) == 2
    assert len(text.prompt_ids("abcdef")) == 6


def test_a_template_may_mark_what_the_assistant_says(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    template = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}!{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(template)
    assert Text(tmp_path).chat_prompt(CHAT) == "Hello!"


@pytest.mark.parametrize("named", [False, True])
def test_a_chat_template_makes_the_prompt_that_transformers_makes(tmp_path: Path, named: bool) -> None:
    from transformers import AutoTokenizer

    template = (
        "{% for message in messages %}\n    {% if message.role == 'user' %}\n[{{ message['content'] | tojson }}]"
        "\n    {% continue %}\n    {% endif %}\n{{ message.content }}{{ eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}\n"
    )
    value = [{"name": "default", "template": template}] if named else template
    write_tokenizer(tmp_path, chat_template=value, tokenizer_class="PreTrainedTokenizerFast")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'Wie heißt "du"?\n'}]
    reference = AutoTokenizer.from_pretrained(tmp_path)
    expected = reference.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert Text(tmp_path).chat_prompt(messages) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ messages[3].content }}",
        "{% for message in messages %}",
    ],
)
def test_a_template_that_refuses_or_reaches_too_far_is_a_prompt_error(tmp_path: Path, template: str) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(PromptError, match="template"):
        Text(tmp_path).chat_prompt(CHAT)


def test_without_a_template_the_answer_names_the_other_interface(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    with pytest.raises(PromptError, match="/v1/completions"):
        Text(tmp_path).chat_prompt(CHAT)


def test_a_broken_tokenizer_is_reported_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        Text(tmp_path)
