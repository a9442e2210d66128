"""Serve a champion: read requests, answer them, until the door says stop.

A client sends a line of JSON such as {"id": 7, "question": [2, 5, 3]}, where a question is the
tokens of the task's question, and gets {"id": 7, "answer": [4]}; or {"id": 7, "error": "..."},
never both. The requests wait behind the Unix socket /doors/serve. A visit posts the replies to the
visit before and fetches the next requests, each under the number of its client; replies go out in
the order of the requests. IN/job.json and IN/weights.safetensors say who answers. A studied change
of class patch edits this file.
"""

import json
import socket
import time
from pathlib import Path
from typing import Any

import torch

from configs.build import parse, strict_json
from configs.job import Order
from configs.tokens import Layout, layout
from models.net import Net
from models.predict import fit

DOOR = "/doors/serve"
MOST_BYTES = 4_096
"""Longest request that is read, in bytes of UTF-8."""
TRIES = 1_000
"""Most tries of a visit."""


class RefusedError(Exception):
    """A request that gets an error: why, in a clause."""


def refuse_number(text: str) -> None:
    """Refuse NaN and the infinities, which are no JSON."""
    raise ValueError(text)


def open_request(text: str) -> dict[str, Any]:
    """Return a request as an object; raise RefusedError for anything else."""
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise RefusedError("it is too long")
    try:
        request = json.loads(text, parse_constant=refuse_number)
    except (ValueError, RecursionError):
        raise RefusedError("it is no JSON") from None
    if not isinstance(request, dict):
        raise RefusedError("it is no object")
    return request


def read_id(request: dict[str, Any]) -> int | str:
    """Return the id of a request, by which its client knows the reply."""
    name = request.get("id")
    if type(name) not in (int, str):
        raise RefusedError("its id is no whole number and no text")
    return name


def read_question(request: dict[str, Any], length: int, values: int) -> list[int]:
    """Return the question of a request: `length` tokens below `values`."""
    question = request.get("question")
    if not isinstance(question, list):
        raise RefusedError("its question is no list")
    if len(question) != length:
        raise RefusedError(f"its question has not {length} tokens")
    for token in question:
        if type(token) is not int or not 0 <= token < values:
            raise RefusedError("its question holds no token of the task")
    return question


class Service:
    """A champion that answers requests."""

    def __init__(self, net: Net, lay: Layout) -> None:
        self.net, self.lay = net, lay
        self.served = 0
        "requests that were replied to"

    @torch.no_grad()
    def answer(self, question: list[int]) -> list[int]:
        """Return the answer to a question, decoded greedily, both in canonical order."""
        lay = self.lay
        tokens = torch.zeros(1, lay.question + lay.answer, dtype=torch.long)
        tokens[0, : lay.question] = torch.tensor(question)[list(lay.order[: lay.question])]
        answer = [0] * lay.answer
        for i, column in enumerate(lay.answers):
            logits = self.net(tokens[:, : lay.question + i], last=True)[0, -1]
            token = int(logits.argmax())
            tokens[0, lay.question + i] = token
            answer[column] = token
        return answer

    def reply(self, text: str) -> dict[str, Any]:
        """Return the reply to a request."""
        name: int | str | None = None
        try:
            request = open_request(text)
            name = read_id(request)
            question = read_question(request, self.lay.question, self.lay.vocabulary)
        except RefusedError as error:
            return {"id": name, "error": str(error)}
        answer = self.answer(question)
        return {"id": name, "answer": answer}

    def serve(self, requests: list[str]) -> list[str]:
        """Return the replies to the requests of a visit, in their order."""
        replies = []
        for text in requests:
            reply = self.reply(text)
            self.served += 1
            replies.append(json.dumps(reply))
        return replies


def visit(replies: list[tuple[int, str]]) -> dict[str, Any]:
    """Post replies at the door, each under its client's number; return what waits there.

    A door that is full says 429 or breaks off before it reads; then the visit is tried again.
    """
    body = json.dumps({"replies": replies}).encode()
    head = f"POST /v1/visits HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(TRIES):
        try:
            with socket.socket(socket.AF_UNIX) as door:
                door.connect(DOOR)
                door.sendall(head + body)
                answer = b"".join(iter(lambda: door.recv(65_536), b""))
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if answer[9:12] == b"200":
            return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))
        if answer[9:12] not in (b"", b"429"):
            raise OSError(f"the door said {answer[9:12].decode(errors='replace')}")
        time.sleep(0.02)
    raise OSError("the door stays full")


def main(source: Path, target: Path) -> None:
    """Load the champion and serve until the door says stop."""
    torch.set_num_threads(1)
    order = parse(Order, strict_json((source / "job.json").read_bytes()))
    lay = layout(order.task, order.recipe)
    net = Net(order.recipe, lay).eval()
    fit(net, source / "weights.safetensors")
    service = Service(net, lay)
    replies: list[tuple[int, str]] = []
    while True:
        waiting = visit(replies)
        if waiting["stop"]:
            return
        numbers = [number for number, _ in waiting["requests"]]
        texts = [text for _, text in waiting["requests"]]
        replies = list(zip(numbers, service.serve(texts), strict=True))
