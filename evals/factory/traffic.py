"""Real clients of a service: their requests, most in the plain form and some in forms of their own.

A form is another way to write the same question: as rows, as a text, under another key. The first
service refuses every form but the plain one, and a change may teach it another. Real clients do
what no scripted client knows of: they name their device, ask again, have ids of all kinds, send odd
requests, which any good service refuses, and come in bursts.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PLAIN = "plain"
Write = Callable[[Any, list[int]], str]
"""(id, question) -> the text of a request."""


def _fold(question: Sequence[int]) -> list[list[int]]:
    """Return a question as rows of four tokens."""
    return [list(question[i : i + 4]) for i in range(0, len(question), 4)]


def _write(name: Any, question: Any) -> str:
    return json.dumps({"id": name, "question": question}, ensure_ascii=False)


FORMS: dict[str, Write] = {
    PLAIN: _write,
    "rows": lambda name, question: _write(name, _fold(question)),
    "text": lambda name, question: _write(name, " ".join(map(str, question))),
    "commas": lambda name, question: _write(name, ",".join(map(str, question))),
    "floats": lambda name, question: _write(name, [float(token) for token in question]),
    "strings": lambda name, question: _write(name, [str(token) for token in question]),
    "tokens": lambda name, question: json.dumps({"id": name, "tokens": question}),
    "capitals": lambda name, question: json.dumps({"ID": name, "QUESTION": question}),
    "wrapped": lambda name, question: json.dumps({"request": {"id": name, "question": question}}),
    "listed": lambda name, question: f"[{_write(name, question)}]",
    "quoted": lambda name, question: json.dumps(_write(name, question)),
    "mark": lambda name, question: "\ufeff" + _write(name, question),
    "semicolon": lambda name, question: _write(name, question) + ";",
}
"""Form of a request -> how it is written."""
DRIFTED = tuple(form for form in FORMS if form != PLAIN)
ODD: tuple[Write, ...] = (
    lambda name, question: "hello",
    lambda name, question: '"hello"',
    lambda name, question: "null",
    lambda name, question: json.dumps({"id": name}),
    lambda name, question: json.dumps({"question": question}),
    lambda name, question: _write(name, question[1:]),
    lambda name, question: _write(name, [*question, question[0]]),
    lambda name, question: _write(name, [900, *question[1:]]),
    lambda name, question: _write(name, [True, *question[1:]]),
    lambda name, question: _write(name, [2.5, *question[1:]]),
    lambda name, question: json.dumps({"id": name, "question": question, "note": "x" * 5_000}),
)
"""Odd requests, each to be refused."""
REFUSED = "odd"
"""Form of a request to be refused."""
DEVICES = ("kiosk", "phone", "desk;2")
DEVICE_SHARE, AGAIN_SHARE, ODD_SHARE = 0.15, 0.15, 0.06
"""Shares of requests that name their device, ask a question again, and are odd."""
BURST = 24
"""Most requests of real clients in a visit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of a real client."""

    name: Any
    "its id"
    form: str
    "its form"
    question: int
    "number of its question among the study's"
    text: str
    "its text"


def draw_requests(
    rng: random.Random, questions: Sequence[list[int]], count: int, drifted: float
) -> list[Request]:
    """Return the requests of a period, in order."""
    requests, asked = list[Request](), list[int]()
    for place in range(count):
        form = rng.choice(DRIFTED) if rng.random() < drifted else PLAIN
        again = bool(asked) and rng.random() < AGAIN_SHARE
        number = rng.choice(asked) if again else rng.randrange(len(questions))
        name = _draw_id(rng, place)
        asked.append(number)
        if rng.random() < ODD_SHARE:
            text = rng.choice(ODD)(name, questions[number])
            requests.append(Request(name=name, form=REFUSED, question=number, text=text))
            continue
        text = FORMS[form](name, questions[number])
        if form == PLAIN and rng.random() < DEVICE_SHARE:
            device = rng.choice(DEVICES)
            text = json.dumps({"id": name, "question": questions[number], "device": device})
        requests.append(Request(name=name, form=form, question=number, text=text))
    return requests


def _draw_id(rng: random.Random, place: int) -> int | str:
    """Return the id of a request: most are large whole numbers."""
    name, kind = rng.randrange(10**6) * 1_000 + place, rng.random()
    if kind < 0.1:
        return f"R-{name}" if kind < 0.08 else f"n\u00e4chste-{place}"
    if kind < 0.14:
        return -place - 1 if kind < 0.12 else 2**53 + 2 * place + 1
    return rng.choice((0, place)) if kind < 0.2 else name


def split_bursts(rng: random.Random, requests: Sequence[Request]) -> list[list[Request]]:
    """Return the requests visit by visit: in bursts of random size."""
    bursts, start = list[list[Request]](), 0
    while start < len(requests):
        size = rng.randint(1, BURST)
        bursts.append(list(requests[start : start + size]))
        start += size
    return bursts
