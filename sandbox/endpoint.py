"""Talk to an OpenAI-compatible endpoint: send a question, within hard seconds and bytes.

It follows no redirect, reads no proxy or netrc, and takes no packed answer. Nothing here is charged
or recorded. In a study sandbox/call.py does both, and alone may call `ask`; a bench of gates has
no study, and counts tokens itself.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

from configs.records import CallStatus, Endpoint

CONNECT_SECONDS = 10.0
"""Longest wait for a connection."""
POLL_SECONDS = 0.1
"""Pause between looks for a stop while a call is in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The outcome of a try, before it is judged."""

    status: CallStatus
    detail: str
    data: bytes = b""
    sent: bool = True
    "whether any byte of the question may have reached the endpoint"


def ask(endpoint: Endpoint, body: bytes, secret: str, held: Callable[[], bool]) -> Received:
    """Send a question and return the outcome.

    It ends within the endpoint's seconds and bytes, or as soon as `held` says so.
    """
    # not asyncio.run, which would wait for a name look-up that hangs
    with closing(asyncio.new_event_loop()) as loop:
        try:
            return loop.run_until_complete(_within(endpoint, body, secret, held))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())


async def _within(
    endpoint: Endpoint, body: bytes, secret: str, held: Callable[[], bool]
) -> Received:
    clock = asyncio.get_running_loop().time
    task, until = asyncio.ensure_future(_post(endpoint, body, secret)), clock() + endpoint.seconds
    while not task.done():
        await asyncio.wait({task}, timeout=min(POLL_SECONDS, max(0.0, until - clock())))
        late = clock() >= until
        if not task.done() and (late or held()):
            task.cancel()
            await asyncio.wait({task}, timeout=1)
            slow = f"no whole answer within {endpoint.seconds} s"
            return (
                Received(status="slow", detail=slow)
                if late
                else Received(status="halted", detail="the study was stopped while it waited")
            )
    return task.result()


async def _post(endpoint: Endpoint, body: bytes, secret: str) -> Received:
    import httpx

    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "heirloop",
    }
    headers |= {"Authorization": f"Bearer {secret}"} if secret else {}
    timeout = httpx.Timeout(endpoint.seconds, connect=min(CONNECT_SECONDS, endpoint.seconds))
    trust = ssl.create_default_context() if endpoint.url.startswith("https") else False
    try:
        async with (
            httpx.AsyncClient(
                trust_env=False, verify=trust, follow_redirects=False, timeout=timeout
            ) as client,
            client.stream(
                "POST",
                f"{endpoint.url.rstrip('/')}/chat/completions",
                content=body,
                headers=headers,
            ) as response,
        ):
            return await _read(endpoint, response)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return Received(status="unreachable", detail="no connection", sent=False)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError) as error:
        return Received(
            status="unreachable", detail=f"the connection broke ({type(error).__name__})"
        )


async def _read(endpoint: Endpoint, response: Any) -> Received:
    code, packed = response.status_code, response.headers.get("content-encoding", "identity")
    if 300 <= code < 400:
        return Received(
            status="redirect",
            detail=f"status {code}: it points to another address, which is not followed",
        )
    if code in (408, 409, 425, 429) or code >= 500:
        return Received(status="busy", detail=f"status {code}")
    if code != 200:
        return Received(status="refused", detail=f"status {code}")
    if packed != "identity":
        return Received(status="malformed", detail="a packed answer, which was not asked for")
    data = bytearray()
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            data += chunk
            if len(data) > endpoint.answer_bytes:
                return Received(
                    status="huge",
                    detail=f"more than {endpoint.answer_bytes} bytes",
                    data=bytes(data[: endpoint.answer_bytes]),
                )
    return Received(status="ok", detail="", data=bytes(data))
