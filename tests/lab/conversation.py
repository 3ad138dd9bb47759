"""A talk with a service on its own host, over its HTTP interface: what every engine has to be able to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.conftest import Lab

WHO = "I am a tiny Llama made on the spot by the Hermeion lab."
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DESCRIPTION = "Get the current weather in a city"
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": DESCRIPTION, "parameters": CITY}}


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@dataclass(frozen=True)
class Talk:
    """A service of a host of the lab."""

    lab: Lab
    host: str
    service: str
    port: int

    def _post(self, body: dict[str, Any]) -> str:
        text = json.dumps({"model": self.service, "max_tokens": 200, "temperature": 0} | body).replace("'", "'\\''")
        keys = f"/etc/hermeion/{self.service}/api-keys"
        return self.lab.ssh(
            self.host,
            f'printf \'header = "Authorization: Bearer %s"\' "$(head -n 1 {keys})" | curl -sS -m 120 -K - '
            f"-H 'Content-Type: application/json' -d '{text}' http://127.0.0.1:{self.port}/v1/chat/completions",
        )

    def message(self, content: str, **body: Any) -> dict[str, Any]:
        """The answer's message; the thought, whatever the engine calls it, as ``thought``."""
        answer = json.loads(self._post({"messages": _user(content)} | body))
        assert "choices" in answer, answer
        message: dict[str, Any] = answer["choices"][0]["message"]
        return message | {"thought": message.get("reasoning") or message.get("reasoning_content")}

    def streamed(self, content: str, **body: Any) -> list[dict[str, Any]]:
        """The deltas of a streamed answer, in order."""
        lines = self._post({"messages": _user(content), "stream": True} | body).splitlines()
        events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert "[DONE]" == events[-1]
        return [choice["delta"] for event in events[:-1] for choice in json.loads(event)["choices"]]


def see_what_it_can(talk: Talk) -> None:
    """Chat, stream, thought on and off, and a tool call, streamed and not."""
    plain = talk.message("Who are you?")
    assert (WHO, None) == (plain["content"], plain["thought"])
    deltas = talk.streamed("Who are you?")
    assert WHO == "".join(delta.get("content") or "" for delta in deltas)
    assert len(deltas) > 3, "the answer came in one piece"
    thought = talk.message("Who are you?", chat_template_kwargs={"thinking": True})
    assert "Somebody asks who I am." in (thought["thought"] or "")
    assert WHO == thought["content"].strip()
    (call,) = talk.message("What is the weather in Paris?", tools=[WEATHER])["tool_calls"]
    assert ("get_weather", {"city": "Paris"}) == (call["function"]["name"], json.loads(call["function"]["arguments"]))
    pieces = [
        part["function"]
        for delta in talk.streamed("What is the weather in Paris?", tools=[WEATHER])
        for part in delta.get("tool_calls") or []
    ]
    assert "get_weather" == "".join(piece.get("name") or "" for piece in pieces)
    assert {"city": "Paris"} == json.loads("".join(piece.get("arguments") or "" for piece in pieces))
