"""The desk of a service: it hands requests of scripted and real clients, and reads the replies.

It is the whole outside of a serve job, and knows no clock: a visit brings the replies to the visit
before and fetches the next requests. `heirloop verify` plays the recorded visits through another
desk, which must say the same. Begin with `Desk`.
"""

import json
import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from configs.build import need
from evals.factory.scenarios import (
    Client,
    Step,
    fill_in,
    is_error,
    is_met,
    is_right,
    list_places,
)
from evals.factory.traffic import FORMS, REFUSED, Request, split_bursts

Batch = list[tuple[int, str]]
"""(number, text) of requests, or of replies."""
Play = Generator[list[str], list[str | None], None]
"""A scripted client at work: yields requests, takes as many replies, None for no reply."""
TOGETHER = 8
"""Scripted clients at a time."""
MOST_VISITS, MOST_LETTERS = 400, 4_000_000
"""Visits of a job and letters of all its replies; then it is told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """The study's questions, with the answers that the champion's weights give to them."""

    questions: list[list[int]]
    "tokens of each question"
    answers: list[list[int]]
    "tokens of each answer, as a predict job with the same weights gave it"

    def draw(self, rng: random.Random) -> int:
        """Return the number of a question."""
        return rng.randrange(len(self.questions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A part of a job: real clients, then scripted ones."""

    clients: tuple[tuple[Client, tuple[Step, ...]], ...] = ()
    "scripted clients, each with the steps that it takes in this job"
    requests: tuple[Request, ...] = ()
    "requests of real clients"
    forms: frozenset[str] = frozenset()
    "forms that a service with the same features and no defect answers"


@dataclass(slots=True)
class Count:
    """What the clients of a job got."""

    met: dict[str, bool] = field(default_factory=dict)
    "scripted client -> whether all its expectations were met"
    requests: int = 0
    "requests of real clients"
    right: int = 0
    "those that were answered rightly"
    harmed: int = 0
    """those that a service without a defect would have answered rightly or refused as odd, and that
    were not
    """

    @property
    def unmet(self) -> tuple[str, ...]:
        """The scripted clients whose expectations were not met."""
        return tuple(sorted(name for name, met in self.met.items() if not met))


class Desk:
    """Plays the clients of a serve job."""

    def __init__(self, hours: Sequence[Hours], bank: Bank, draws: str) -> None:
        """`draws` seeds what the clients ask: the same text, the same requests."""
        self.count = Count()
        self._bank, self._draws = bank, draws
        self._number, self._visits, self._letters = 0, 0, 0
        self._waiting = range(0)
        self._replies = dict[int, str]()
        for part in hours:
            self.count.met |= dict.fromkeys((client.client for client, _ in part.clients), True)
            self.count.requests += len(part.requests)
            self.count.harmed += sum(
                one.form in part.forms or one.form == REFUSED for one in part.requests
            )
        self._left = [client.client for part in hours for client, _ in part.clients]
        self._play = self._play_all(hours)

    def visit(self, replies: Batch) -> Batch | None:
        """Take the replies to the last visit; return the next requests, None to stop.

        A reply that comes out of order, or later, counts as none.
        """
        self._visits += 1
        self._letters += sum(len(text) for _, text in replies)
        last, self._replies = -1, {}
        for number, text in replies:
            if number in self._waiting and number > last:
                self._replies[number], last = text, number
        self._waiting = range(0)
        if self._visits > MOST_VISITS or self._letters > MOST_LETTERS:
            return None
        return next(self._play, None)

    def end(self) -> Count:
        """Return the count at the job's end: a client that was not played to its end is unmet."""
        for name in self._left:
            self.count.met[name] = False
        return self.count

    def _hand(self, texts: Sequence[str]) -> range:
        """Hand requests with the next visit; return their numbers."""
        self._waiting = range(self._number, self._number + len(texts))
        self._number += len(texts)
        return self._waiting

    def _play_all(self, hours: Sequence[Hours]) -> Iterator[Batch]:
        for part in hours:
            yield from self._play_requests(part)
            yield from self._play_clients(part)

    def _play_clients(self, part: Hours) -> Iterator[Batch]:
        """Play the scripted clients, some at a time, a step of each with every visit."""
        begun = list(part.clients)
        active = list[tuple[str, Play, list[str | None]]]()
        while begun or active:
            asked = list[tuple[str, Play, list[str]]]()
            for name, play, replies in active:
                try:
                    asked.append((name, play, play.send(replies)))
                except StopIteration:
                    self._left.remove(name)
            while begun and len(asked) < TOGETHER:
                client, steps = begun.pop(0)
                play = self._play_client(client, steps)
                asked.append((client.client, play, next(play)))
            texts = [text for _, _, own in asked for text in own]
            numbers = self._hand(texts)
            if texts:
                yield list(zip(numbers, texts, strict=True))
            got = (self._replies.get(number) for number in numbers)
            active = [(name, play, [*islice(got, len(own))]) for name, play, own in asked]

    def _play_client(self, client: Client, steps: Sequence[Step]) -> Play:
        """Yield the requests of each step, take the replies, and hold them against it."""
        rng, drawn = random.Random(f"{self._draws}:{client.client}"), dict[str, int]()
        for step in steps:
            assert step.expect is not None
            asked = [self._write(step, copy, drawn, rng) for copy in range(step.copies)]
            replies = yield [text for text, _, _ in asked]
            for text, (_, name, question) in zip(replies, asked, strict=True):
                answer = self._bank.answers[question]
                if not is_met(step.expect, _read(text), name, answer):
                    self.count.met[client.client] = False

    def _write(
        self, step: Step, copy: int, drawn: dict[str, int], rng: random.Random
    ) -> tuple[str, Any, int]:
        """Return the text of a request, its id, and the number of its question."""
        for letter in list_places(step):
            if copy or letter not in drawn:
                drawn[letter] = self._bank.draw(rng)
        asked = {letter: self._bank.questions[number] for letter, number in drawn.items()}
        question = drawn[list_places(step)[0]]
        if step.form:
            name: Any = rng.randrange(10**6)
            return FORMS[step.form](name, self._bank.questions[question]), name, question
        if step.send is None:
            return fill_in(step.raw, asked), step.id, question
        named = step.send.get("id")
        name = named + copy if type(named) is int else named
        request = {**step.send, "id": name} if "id" in step.send else step.send
        return fill_in(json.dumps(request), asked), name, question

    def _play_requests(self, part: Hours) -> Iterator[Batch]:
        """Play the real clients, burst by burst."""
        bursts = split_bursts(random.Random(f"{self._draws}:bursts"), part.requests)
        for burst in bursts:
            texts = [one.text for one in burst]
            numbers = self._hand(texts)
            yield list(zip(numbers, texts, strict=True))
            for number, one in zip(numbers, burst, strict=True):
                reply = _read(self._replies.get(number))
                right = is_right(reply, one.name, self._bank.answers[one.question])
                refused = one.form == REFUSED and is_error(reply, one.name)
                self.count.right += right and one.form != REFUSED
                self.count.harmed -= refused or (right and one.form in part.forms)


def read_batch(request: Any) -> Batch:
    """Return the replies that a visit posts; raises BadInput for anything else."""
    right = '{"replies": [[NUMBER, TEXT], ...]}'
    replies = request.get("replies") if isinstance(request, dict) and len(request) == 1 else None
    need(isinstance(replies, list), "visit", type(request).__name__, right)
    for reply in replies or []:
        pair = isinstance(reply, list) and [type(part) for part in reply] == [int, str]
        need(pair, "reply", str(reply)[:60], right)
    return [(number, text) for number, text in replies or []]


def _read(text: str | None) -> Any:
    """Return the JSON of a reply, None for no reply or no JSON."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
