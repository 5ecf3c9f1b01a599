"""Chat: conversations of several turns, of which a model learns the assistant's turns and is asked for the last one."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from greenllm.config.models import EmbeddedData
from greenllm.tasks import squad
from greenllm.tasks.conversation import Message, as_json, from_json
from greenllm.tasks.customer_messages import messages
from greenllm.tasks.customer_replies import HAND_OVER, REPLIES
from greenllm.tasks.task import DataOrigin, Task

TEST_SHARE = 0.1  # of the embedded messages' templates


class Chat(Task):
    """A conversation up to the assistant's last turn in, that turn out."""

    name = "chat"
    primary = "squad_f1"
    metrics: ClassVar = {
        "exact_match": "share of answers exactly right, except for white space (0 to 1, higher is better)",
        **squad.METRICS,
    }
    columns = ("messages",)
    compares = ("prompt", "completion")
    origin = DataOrigin(
        generator="grammar of bank and shop customers' messages and their replies, part of GreenLLM",
        licence="Apache-2.0",
        near_duplicates=True,
    )

    def rows(self, settings: EmbeddedData) -> Iterator[dict[str, str]]:
        """Make `settings.rows` conversations of two turns each; no template of a tested message is trained on."""
        asked = list(messages(2 * settings.rows + 2, settings.seed))
        templates = sorted({message["group"] for message in asked})
        held_out = set(random.Random(settings.seed).sample(templates, max(1, round(TEST_SHARE * len(templates)))))
        first: dict[str, dict[str, str]] = {}
        made = 0
        for second in asked:
            split = "test" if second["group"] in held_out else "train"
            if split not in first:
                first[split] = second
            elif made < settings.rows:
                pair = (first.pop(split), second)
                made += 1
                yield {
                    "messages": as_json([message for part in pair for message in _turn(part)]),
                    "group": " / ".join(part["group"] for part in pair),
                    "split": split,
                }

    def cleaned(self, row: Mapping[str, str], clean: Callable[[str], str]) -> dict[str, str]:
        """Return the conversation with each message cleaned; raise ValueError if one is empty then."""
        found = [replace(message, content=clean(message.content)) for message in from_json(row["messages"])]
        for number, message in enumerate(found, 1):
            if not message.content:
                raise ValueError(f"message {number} is empty")
        return {"messages": as_json(found)}

    def subject(self, texts: Mapping[str, str]) -> str:
        """Return all that precedes the last answer."""
        return self.prompt(texts)

    def prompt(self, row: Mapping[str, str]) -> str:
        """Return all turns up to the assistant's last one, each after its role; the chat template replaces it."""
        return "".join(f"{message.role}: {message.content}\n" for message in from_json(row["messages"])[:-1])

    def completion(self, row: Mapping[str, str]) -> str:
        """Return the assistant's last turn, with its line breaks."""
        return from_json(row["messages"])[-1].content


def _turn(message: Mapping[str, str]) -> tuple[Message, Message]:
    return Message("user", message["prompt"]), Message("assistant", REPLIES.get(message["completion"], HAND_OVER))
