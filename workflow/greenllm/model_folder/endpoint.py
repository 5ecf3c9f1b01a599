"""How to ask an OpenAI endpoint: requests and errors, for all who send it prompts."""

import json
import os
from collections.abc import Sequence
from typing import Any

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

    def unreachable(self, error: Exception) -> UserError:
        """Return the error for an endpoint that does not answer."""
        reason = " ".join(str(error).split()) or type(error).__name__
        return UserError(f"{self.url}: can't be reached ({reason}); is the endpoint running?")

    def refused(self, status: int, content: bytes) -> UserError:
        """Return the error for an endpoint that answers with an HTTP error."""
        remedy = ""
        if status in (401, 403):
            remedy = (
                "; model.key_variable names the environment variable of its key"
                if self.key_variable is None
                else f"; is ${self.key_variable} its key?"
            )
        return UserError(f"{self.url}: {error_of(status, content)}{remedy}")

    def body(
        self,
        prompt: str | list[int],
        max_tokens: int | None,
        *,
        stream: bool = False,
        temperature: float = 0,
        top_p: float = 1,
        seed: int | None = None,
        stop: Sequence[str] = (),
        ignore_end: bool = False,
    ) -> dict[str, Any]:
        """Return the body of a request; `max_tokens` None leaves the limit to the server.

        The prompt is a text or, not with `chat`, its token ids. With temperature 0, the default, decoding is greedy.
        """
        body: dict[str, Any] = {"temperature": temperature}
        if temperature:
            body |= {"top_p": top_p, "seed": seed}
        if stop:
            body["stop"] = list(stop)
        if ignore_end:
            body["ignore_eos"] = True  # not in OpenAI's interface: a server that does not have it refuses it
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


def served_names(endpoint: Endpoint, timeout_s: float = 20) -> list[str]:
    """Return the names of the models that an endpoint has (GET /models).

    Raises UserError where it can't be reached, or does not answer so.
    """
    import httpx

    with httpx.Client(timeout=timeout_s, trust_env=False) as client:
        try:
            response = client.get(f"{endpoint.url}/models", headers=endpoint.headers())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise endpoint.unreachable(error) from None
    if response.status_code != 200:
        raise endpoint.refused(response.status_code, response.content)
    try:
        return [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{endpoint.url}/models: no list of models as OpenAI's interface has it; expected the address of such an "
            "endpoint, with its version: http://127.0.0.1:8000/v1"
        ) from None
