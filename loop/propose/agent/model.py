"""The door `model` of an agent: chat completions of the study's one model, and nothing else.

A request has the form of OpenAI-compatible endpoints. Messages of text are taken from it; tools,
searches, other models, addresses of images and every unknown key are refused by name. The bytes to
send are written anew from the messages and the study's own settings, and go through
`sandbox.call.call`: granted, reserved at their worst case, settled by usage, stored. So an answer
is whole and paid before its first byte goes back, as one piece or as a stream.

An attempt of a lost job asks again: equal bytes get the recorded answer, the first of them the
first, and the endpoint is not asked.
"""

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from configs.build import need
from configs.entries import AnswerEntry, CallEntry, facts_of
from configs.errors import Interrupted
from configs.records import Call, Endpoint, ModelReply
from loop.campaign import Campaign
from loop.plan import Planned
from loop.study.running import Running
from sandbox.call import call, question
from sandbox.canonical import digest
from sandbox.door.doors import Reply, refuse
from sandbox.gate import Halted

PATH = "/v1/chat/completions"
ROLES = ("system", "user", "assistant")
IGNORED = ("temperature", "max_tokens", "max_completion_tokens", "top_p", "user", "stream_options")
"""Keys that libraries send. The study sets temperature and length, so these change nothing."""
MOST_MESSAGES, MOST_SEED, MOST_STOPS = 1000, 2**31, 16
PIECE = 400
"""Characters of a piece of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The part of a request that counts."""

    messages: tuple[dict[str, str], ...]
    "role and text of each message"
    seed: int | None
    "the agent's own; None: the number of times that it asked the same"
    stream: bool
    "whether the answer goes back as a stream"
    stop: tuple[str, ...]
    "texts before the first of which the answer is cut, once it is paid; the model never sees them"


def read_chat(request: Any, model: str) -> Chat:
    """Return what a request asks; raise BadInput, with the key, for anything but a plain chat."""
    need(isinstance(request, dict), "the request", type(request).__name__, "a JSON object")
    known = {"model", "messages", "seed", "stream", "stop", "n", *IGNORED}
    for key in request:
        need(key in known, f"the request's {key!r}", "given", "left out: this door has plain chats")
    need(request.get("model") == model, "model", request.get("model"), f"{model}, and no other")
    need(request.get("n", 1) == 1, "n", request.get("n"), "1")
    stream, seed = request.get("stream", False), request.get("seed")
    need(isinstance(stream, bool), "stream", stream, "true or false")
    right = seed is None or (type(seed) is int and 0 <= seed < MOST_SEED)
    need(right, "seed", seed, f"a whole number below {MOST_SEED}")
    messages = request.get("messages")
    right = isinstance(messages, list) and 0 < len(messages) <= MOST_MESSAGES
    need(right, "messages", "given", f"a list of 1 to {MOST_MESSAGES} messages")
    chat = tuple(map(_read_message, messages))
    return Chat(messages=chat, seed=seed, stream=stream, stop=_read_stop(request.get("stop")))


def _read_stop(stop: Any) -> tuple[str, ...]:
    texts = [] if stop is None else [stop] if isinstance(stop, str) else stop
    right = isinstance(texts, list) and len(texts) <= MOST_STOPS
    right = right and all(isinstance(text, str) and text for text in texts)
    need(right, "stop", "given", f"a text, or a list of at most {MOST_STOPS}")
    return tuple(texts)


def _read_message(message: Any) -> dict[str, str]:
    keys = set(message) if isinstance(message, dict) else set()
    need(keys == {"role", "content"}, "a message", sorted(keys), "an object of role and content")
    need(message["role"] in ROLES, "role", message["role"], f"one of {', '.join(ROLES)}")
    return {"role": message["role"], "content": _read_text(message["content"])}


def _read_text(content: Any) -> str:
    """Return the text of a content, a text itself or a list of texts; no address, no file."""
    if isinstance(content, str):
        return content
    need(isinstance(content, list), "content", type(content).__name__, "a text")
    texts = list[str]()
    for part in content:
        is_text = isinstance(part, dict) and set(part) == {"type", "text"}
        is_text = is_text and part["type"] == "text" and isinstance(part["text"], str)
        need(is_text, "a part of content", "given", 'of the form {"type": "text", "text": ...}')
        texts.append(part["text"])
    return "\n".join(texts)


@dataclass(slots=True, kw_only=True)
class ModelDoor:
    """The door of one attempt of an agent's job."""

    campaign: Campaign
    "the agent's campaign"
    asked: Planned
    "the propose plan of its job"
    endpoint: Endpoint
    "the study's model"
    used: Counter[str] = field(default_factory=Counter)
    "digest of the chat -> how often it was asked"
    replies: list[tuple[str, ModelReply]] = field(default_factory=list)
    "digest of the bytes of each question of the job, earlier attempts included, and its reply"

    def __post_init__(self) -> None:
        self.replies += _read_recorded(self.campaign.running, self.asked.digest)

    def answer(self, request: Any) -> Reply:
        """Answer a chat; raise BadInput for a request that is none."""
        chat = read_chat(request, self.endpoint.model)
        running, settings = self.campaign.running, self.campaign.running.config.proposer
        key = digest([chat.messages, chat.seed])
        number = self.used[key]
        seed = number if chat.seed is None else chat.seed
        data = question(self.endpoint, chat.messages, seed, {})
        most = self.endpoint.prompt_bytes
        need(len(data) <= most, "the request's bytes", len(data), f"at most {most}")
        self.used[key] += 1
        body, index = digest(data), len(self.replies)
        same = [reply for asked, reply in self.replies if asked == body]
        occurrence = number if chat.seed is not None else 0
        if occurrence < len(same):
            reply = same[occurrence]
        else:
            if index >= settings.calls:  # defence: calls of a generation
                return refuse(403, f"a generation has {settings.calls} calls, and all are used")
            plan, size = self.asked.digest, len(data)
            running.store.put(data)
            sent = Call(plan=plan, index=index, endpoint=self.endpoint, body=body, size=size)
            reply = _ask(running, sent)
            self.replies.append((body, reply))
        if reply.status != "ok":
            return refuse(502, f"the model gave no answer ({reply.status}: {reply.detail})")
        text = running.store.get(reply.text).decode()
        cut = min((at for stop in chat.stop if (at := text.find(stop)) >= 0), default=len(text))
        finish = "stop" if cut < len(text) else reply.finish
        told = replace(reply, finish=finish)
        return write_completion(self.endpoint.model, text[:cut], told, chat.stream)


def _read_recorded(running: Running, plan: str) -> list[tuple[str, ModelReply]]:
    """Return the questions of a propose plan so far, by the digest of their bytes, with replies."""
    entries = running.ledger.entries()
    bodies = {
        fact.call.index: fact.call.body
        for fact in facts_of(entries, CallEntry)
        if fact.call.plan == plan
    }
    answers = [fact for fact in facts_of(entries, AnswerEntry) if fact.plan == plan]
    return [(bodies[fact.index], fact.answer) for fact in answers]


def _ask(running: Running, request: Call) -> ModelReply:
    """Ask once, with a grant of its own, and return the reply; raises as `call` does."""
    while True:
        if running.stopped:
            raise Interrupted("the study was stopped")
        running.watch()
        try:
            grant = running.gate.next_grant(request.plan, "ask", request.index)
            return call(running.sandbox, request, grant, lambda: running.stopped)
        except Halted as held:
            running.wait(held)


def write_completion(model: str, text: str, reply: ModelReply, stream: bool) -> Reply:
    """Return an answer in the form of the endpoints, whole or as a stream of pieces."""
    finish = reply.finish or "stop"
    about = {"id": f"chatcmpl-{reply.text[:16]}", "created": 0, "model": model}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": reply.charged.tokens}
    if not stream:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        whole = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
        return Reply(status=200, body=json.dumps(whole).encode())
    pieces: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": text[at : at + PIECE]}, None)
        for at in range(0, len(text), PIECE)
    ]
    lines = list[str]()
    for delta, end in [*pieces, ({}, finish)]:
        choices = [{"index": 0, "delta": delta, "finish_reason": end}]
        chunk = {**about, "object": "chat.completion.chunk", "choices": choices}
        lines.append(f"data: {json.dumps(chunk)}\n\n")
    body = "".join([*lines, "data: [DONE]\n\n"]).encode()
    return Reply(status=200, body=body, kind="text/event-stream")
