"""A small OpenAI-compatible endpoint on loopback that answers as a script says; it remembers every
question.
"""

import json
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), self.body))
        replies = self.server.replies
        with suppress(OSError):
            (replies.pop(0) if len(replies) > 1 else replies[0])(self)
        self.close_connection = True

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers), b""))
        send(b"{}")(self)

    def log_message(self, *_):
        pass


def send(data: bytes, status=200, **headers) -> Reply:
    """Answer with these very bytes."""

    def reply(handler):
        handler.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def completion(content, usage=(100, 20), finish="stop", **more) -> bytes:
    """A chat completion; usage is (question, answer), None for none, or whatever else is to stand
    there.
    """
    body = {
        "id": "x",
        "object": "chat.completion",
        "model": "stub",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": finish,
            }
        ],
        **more,
    }
    if isinstance(usage, tuple):
        usage = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    if usage is not None:
        body["usage"] = usage
    return json.dumps(body).encode()


def say(content, **more) -> Reply:
    """Answer with a text."""
    return send(completion(content, **more))


def propose(**knobs) -> Reply:
    """Answer with a proposal in prose and a fence, as models do."""
    told = json.dumps({"hypothesis": "because", "knobs": knobs, "predicted_gain": 0.1})
    return say(f"Sure! Here is my proposal:\n```json\n{told}\n```\nI hope that it helps.")


def echo_key(handler) -> None:
    """Answer with the key that came in, plain, in an address and in JSON escapes."""
    key = handler.headers["Authorization"].removeprefix("Bearer ")
    escaped = "".join(f"\\u{ord(c):04x}" for c in key)
    told = completion(
        f"your key is {key}, ESCAPED " + json.dumps({"hypothesis": key, "knobs": {"depth": 1}})
    )
    send(told.replace(b"ESCAPED", escaped.encode()), X_Key=key)(handler)


def endless(handler) -> None:
    """Begin an answer and never end it."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65_536)


def silent(handler) -> None:
    """Read the question and say nothing, until the other side goes."""
    handler.connection.settimeout(30)
    handler.connection.recv(1)


def dribble(handler) -> None:
    """Send a header byte now and then, for ever."""
    handler.connection.settimeout(0.05)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(600):
        handler.wfile.write(b"x")
        with suppress(TimeoutError):
            if handler.connection.recv(1) == b"":
                return


def hang_up(handler) -> None:
    """Close the connection without an answer."""


@contextmanager
def stub(*replies: Reply):
    """Serve these replies in turn, the last one for ever; yield the server, with `url` and
    `asked`.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.replies, server.asked = list(replies), []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
