"""How to ask an OpenAI endpoint: its addresses, requests and errors, for all who send it prompts."""

import json
import os
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from greenllm.errors import UserError


class Endpoint(BaseModel):
    """An OpenAI endpoint, and how a model behind it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    """Its address, with the version: http://127.0.0.1:8000/v1."""
    served_name: str | None = None
    """The model's name there; None leaves it out of the requests."""
    chat: bool = False
    """Ask by chat messages, else by plain prompts."""
    system: str | None = None
    """With `chat`: the system message before each prompt."""
    key_variable: str | None = None
    """Environment variable that holds the key: the key itself is written nowhere."""
    cgroup: str | None = None
    """Control group of its processes, where they run on this host."""

    @property
    def path(self) -> str:
        """Where prompts are sent, below the address."""
        return "/chat/completions" if self.chat else "/completions"

    def headers(self) -> dict[str, str]:
        """Return the headers of a request. Raises UserError where the key's variable is not set."""
        if self.key_variable is None:
            return {}
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise UserError(f"{self.url}: model.key_variable: ${self.key_variable} is not set; set it to the key")
        return {"Authorization": f"Bearer {key}"}

    def body(self, prompt: str, max_tokens: int | None, *, stream: bool = False) -> dict[str, Any]:
        """Return the body of a request: greedy decoding; `max_tokens` None leaves the limit to the server."""
        body: dict[str, Any] = {"temperature": 0}
        if self.served_name is not None:
            body["model"] = self.served_name
        if self.chat:
            system = [] if self.system is None else [{"role": "system", "content": self.system}]
            body["messages"] = [*system, {"role": "user", "content": prompt}]
        else:
            body["prompt"] = prompt
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


def with_version(url: str) -> str:
    """Return an address with the interface's version: `http://host:8000` becomes `http://host:8000/v1`."""
    url = url.rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"


def text_of(choice: dict[str, Any]) -> str:
    """Return the text of a choice, of a whole answer or of a part of a streamed one, of either kind."""
    said = choice if "text" in choice else choice.get("message") or choice.get("delta") or {}
    return said.get("text") or said.get("content") or ""


def error_of(status: int, content: bytes) -> str:
    """Return in one line what an answer with an HTTP error says: the server's own message, where it has one."""
    text = content.decode(errors="replace")
    try:
        error = json.loads(text)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        pass
    return f"HTTP {status}: {' '.join(text.split())[:300]}".removesuffix(": ")
