"""A question to an outside model: its address, its cost, and its outcome.

Refuses an address that could carry a secret.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from configs.build import need
from configs.records.plan import Amount

TEMPLATE_TOKENS = 256
"""Tokens added to a question by a server's chat template.

A token of the question itself is at least a byte of it.
"""
CALL_CPU_US = 2_000_000
"""CPU of the trusted side to send a question and to read its answer.

The measured use is charged.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model behind an OpenAI-compatible address: `url`/chat/completions is asked, and no
    other.
    """

    url: str
    """base address, such as http://127.0.0.1:8765/v1; it stands in the ledger, so it holds no user,
    password or query
    """
    model: str
    "name of the model, as the server knows it"
    key_variable: str = ""
    """name of the environment variable of the trusted process with the key; empty: no key is sent.
    The key itself stands nowhere
    """
    prompt_bytes: int = 24_000
    "most bytes of a question; the prompt's history and source are cut to it"
    answer_tokens: int = 1500
    "most tokens of an answer, hidden reasoning included; asked of the server, and reserved"
    answer_bytes: int = 200_000
    "most bytes read of an answer, its JSON envelope included; more is an unusable answer"
    seconds: int = 120
    "wall seconds of a try, from the connection to the last byte"
    tries: int = 3
    """tries of a question when the endpoint fails (no connection, too slow, busy); each has a grant
    of its own and is charged
    """
    pause_seconds: int = 2
    "wait before the second try; each further try waits twice as long"
    temperature: float = 0.8
    "sampling temperature; 0 to 2"
    structured: Literal["none", "json_object", "json_schema"] = "none"
    """response_format in the request; none: the answer is read from plain text, SEARCH/REPLACE
    blocks included
    """
    edits: bool = True
    """whether the model is shown the marked regions of models/train.py and asked for edits of them,
    besides knobs
    """
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    "the server's name for `answer_tokens`"
    prompt_price: int = 0
    "price of a million tokens of the question, in millionths of the study's currency"
    answer_price: int = 0
    "price of a million tokens of the answer, in millionths of the study's currency"

    def __post_init__(self) -> None:
        self._address()
        need(0 < len(self.model) <= 200, "model", self.model, "1 to 200 characters")
        right = "the NAME of an environment variable (capitals, digits, underscore), never the key"
        need(
            bool(re.fullmatch(r"([A-Z_][A-Z0-9_]{0,63})?", self.key_variable)),
            "key_variable",
            "(not shown)",
            right,
        )
        for name, low, high in (
            ("prompt_bytes", 4000, 10**6),
            ("answer_tokens", 1, 10**6),
            ("answer_bytes", 1000, 10**7),
            ("seconds", 1, 3600),
            ("tries", 1, 3),
            ("pause_seconds", 0, 600),
            ("temperature", 0, 2),
            ("prompt_price", 0, 10**12),
            ("answer_price", 0, 10**12),
        ):
            need(
                low <= getattr(self, name) <= high,
                name,
                getattr(self, name),
                f"between {low} and {high}",
            )

    def _address(self) -> None:
        try:
            at = urlsplit(self.url)
            bare = (
                not (at.username or at.password or at.query or at.fragment)
                and "@" not in self.url
                and "?" not in self.url
            )
            known = at.scheme in ("http", "https") and bool(at.hostname) and (at.port or 1) > 0
        except ValueError:
            known, bare = False, False
        need(
            bare,
            "url",
            "(not shown)",
            "an address without user, password, query or fragment: it stands in the ledger",
        )
        need(
            known and len(self.url) <= 300,
            "url",
            self.url,
            "an http or https address, such as http://127.0.0.1:8765/v1",
        )
        local = at.hostname in ("127.0.0.1", "::1", "localhost")
        need(
            not self.key_variable or at.scheme == "https" or local,
            "url",
            self.url,
            "https where a key is sent to another machine",
        )

    def money(self, prompt_tokens: int, answer_tokens: int) -> int:
        """Return the price of tokens in millionths, rounded up."""
        return -(
            -(prompt_tokens * self.prompt_price + answer_tokens * self.answer_price) // 1_000_000
        )

    def worst(self, size: int) -> Amount:
        """Return the reservation of a try with a question of `size` bytes: its highest cost."""
        prompt = size + TEMPLATE_TOKENS
        return Amount(
            cpu_us=CALL_CPU_US,
            wall_us=self.seconds * 1_000_000,
            output_bytes=self.answer_bytes,
            tokens=prompt + self.answer_tokens,
            money_micros=self.money(prompt, self.answer_tokens),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A question, bound to the asking plan, its number, the endpoint and every byte sent."""

    plan: str
    "plan digest"
    index: int
    "number of the question within the plan, from 0"
    endpoint: Endpoint
    "the endpoint and its bounds"
    body: str
    "digest in the store of the bytes sent; the key is not among them"
    size: int
    "number of those bytes"

    def worst(self) -> Amount:
        """Return the reservation of a try."""
        return self.endpoint.worst(self.size)


CallStatus = Literal[
    "ok",
    "malformed",
    "huge",
    "unreachable",
    "slow",
    "busy",
    "refused",
    "redirect",
    "breach",
    "halted",
    "lost",
]
RETRIED: tuple[CallStatus, ...] = ("unreachable", "slow", "busy")
"""The endpoint failed; the same question is asked again, `tries` times in all, then the arm pauses.
"""
UNUSABLE: tuple[CallStatus, ...] = ("malformed", "huge")
"""The endpoint's answer is no answer: a recorded, charged, invalid proposal."""
ENDED: tuple[CallStatus, ...] = ("halted", "lost")
"""The trusted side gave up or died; the question is granted anew and not counted as a try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """The record of a try."""

    status: CallStatus
    "ok: text came back; else the failure. refused, redirect and breach pause the arm at once"
    detail: str
    "a clause of ours; nothing from the endpoint"
    charged: Amount
    "the charge"
    charged_by: Literal["usage", "reservation", "nothing"]
    """usage: tokens by the endpoint's own count; reservation: no count, the worst case stands;
    nothing: no connection came about
    """
    text: str = ""
    "digest in the store of the answer's text, the key blotted out; empty without text"
    finish: str = ""
    "why the model stopped, in the endpoint's word; empty without a known word"
