"""Scenarios: scripted clients of a service, each with its expectations.

A file holds JSON lines, a client each. Example, a request and its answer, before and after a
restart of the service:

    {"client": "still-there", "of": "restart in the middle", "steps": [
     {"send": {"id": 1, "question": "$a"}, "expect": "answer"}, {"restart": true},
     {"send": {"id": 2, "question": "$a"}, "expect": "answer"}]}

A step sends `copies` requests at once: `send`, an object; `raw`, a text; or a question in a `form`
of traffic.py. In them `$a` to `$z` are questions drawn for the client, each copy has questions and
ids of its own, and `$x9000` is a text of 9,000 letters. The next step comes when all replies are
there. A reply must come with the next visit, in the order of the requests.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from configs.build import need, parse, strict_json
from configs.errors import BadInput
from configs.reader import later

CLIENTS_BYTES, LINE_BYTES = 4_000_000, 50_000
MOST_CLIENTS, MOST_STEPS, MOST_COPIES, MOST_FILL = 1_000, 50, 200, 200_000
ERROR_LETTERS = 200
"""Longest text of an error; more is a flood, or an echo of the request."""
Expected = Literal["answer", "error", "answer or error"]
"""answer: the id and the right answer, nothing else. error: the id or null, and a short text,
nothing else. answer or error: one of the two, so never a wrong answer.
"""
PLACE = re.compile(r'"\$([a-z])"')
FILL = re.compile(r"\$x(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Requests of a client that it sends at once, or the restart of the service."""

    send: dict[str, Any] | None = later(None, hash=False)
    "a request; absent: another field says what is sent"
    raw: str = later("")
    "a text that is sent as it is, but for its places"
    id: Any = later(None, hash=False)
    "id of a text that is sent as it is, where one can be read from it"
    form: str = later("")
    "form in which a drawn question is sent"
    copies: int = later(1)
    "requests that are sent at once"
    expect: Expected | None = later(None)
    "what each reply must be; absent: a restart, which has none"
    restart: bool = later(False)
    "whether the service is restarted here"

    def __post_init__(self) -> None:
        ways = [self.send is not None, bool(self.raw), bool(self.form), self.restart]
        need(sum(ways) == 1, "step", ways, "one of send, raw, form and restart")
        need((self.expect is None) == self.restart, "expect", self.expect, "given with a request")
        need(1 <= self.copies <= MOST_COPIES, "copies", self.copies, f"1 to {MOST_COPIES}")
        for size in FILL.findall(self.raw + json.dumps(self.send)):
            need(int(size) <= MOST_FILL, "$x", size, f"a text of at most {MOST_FILL} letters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A scripted client."""

    client: str
    "its name"
    of: str
    "what it is about, such as `odd requests`"
    steps: tuple[Step, ...]
    "its requests, in order"

    def __post_init__(self) -> None:
        named = bool(re.fullmatch(r"[a-z0-9-]{1,60}", self.client))
        need(named, "client", self.client, "1 to 60 small letters, digits and dashes")
        need(0 < len(self.of) <= 60, "of", self.of, "1 to 60 letters")
        need(1 <= len(self.steps) <= MOST_STEPS, "steps", len(self.steps), f"1 to {MOST_STEPS}")
        restarts = [place for place, step in enumerate(self.steps) if step.restart]
        inside = all(0 < place < len(self.steps) - 1 for place in restarts) and len(restarts) < 2
        need(inside, "restart", restarts, "at most one, between two requests")

    def halves(self) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """Return the steps before the restart and those after it; without one, all and none."""
        for place, step in enumerate(self.steps):
            if step.restart:
                return self.steps[:place], self.steps[place + 1 :]
        return self.steps, ()


def read_clients(data: bytes, where: str = "the clients") -> tuple[Client, ...]:
    """Return the clients of a file; raises BadInput with the number of the wrong line."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    right = f"a file of JSON lines, 1 to {MOST_CLIENTS} clients"
    need(1 <= len(lines) <= MOST_CLIENTS, where, len(lines), right)
    clients = list[Client]()
    for number, line in enumerate(lines, 1):
        try:
            clients.append(parse(Client, strict_json(line, LINE_BYTES), "client"))
        except (BadInput, UnicodeDecodeError) as error:
            raise BadInput(f"{where}, line {number}: {error}") from None
    names = [client.client for client in clients]
    need(len(set(names)) == len(names), where, len(names), "clients with names of their own")
    return tuple(clients)


def fill_in(text: str, questions: dict[str, list[int]]) -> str:
    """Return a text with its places filled: drawn questions, and long texts."""
    filled = PLACE.sub(lambda found: json.dumps(questions[found[1]]), text)
    return FILL.sub(lambda found: "x" * int(found[1]), filled)


def list_places(step: Step) -> list[str]:
    """Return the letters of the questions that a step names, in order."""
    text = step.raw if step.send is None else json.dumps(step.send)
    return list(dict.fromkeys(PLACE.findall(text))) or ["a"]


def is_met(expect: Expected, reply: Any, name: Any, answer: Sequence[int]) -> bool:
    """Tell whether a reply is what is expected; `name` is the id that was sent, None for none."""
    right = is_right(reply, name, answer)
    if expect == "answer" or (right and expect == "answer or error"):
        return right
    return is_error(reply, name)


def is_right(reply: Any, name: Any, answer: Sequence[int]) -> bool:
    """Tell whether a reply is the id and the answer, and nothing else."""
    if not isinstance(reply, dict) or reply.keys() != {"id", "answer"}:
        return False
    given, got = reply["id"], reply["answer"]
    plain = isinstance(got, list) and all(type(token) is int for token in got)
    return (type(given), given) == (type(name), name) and plain and got == list(answer)


def is_error(reply: Any, name: Any) -> bool:
    """Tell whether a reply is a short error under the request's id or none, and nothing else."""
    if not isinstance(reply, dict) or reply.keys() != {"id", "error"}:
        return False
    given, text = reply["id"], reply["error"]
    known = given is None or (type(given), given) == (type(name), name)
    return known and isinstance(text, str) and 0 < len(text) <= ERROR_LETTERS
