"""The application: it guards every address, and makes each character of a value visible.

Every answer carries a strict Content-Security-Policy. A POST from another page, to another host
name or too large is refused unread. The addresses are in `enter.py`, `watch.py`,
`decide.py` and `claims.py`.
"""

import socket
import ssl
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.build import need
from configs.errors import BadInput, HeirloopError, NeedsHuman, Stopped, VerificationFailed
from loop.inbox import claims, decide, enter, watch
from loop.inbox.access import COOKIE, SignedOut, origin, page, wants_json
from loop.inbox.decide import BODY_BYTES
from loop.inbox.runs import ServedRuns
from loop.inbox.sign_in import SignIns
from loop.text import visible
from sandbox.canonical import canonical

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""Characters kept out of a block of JSON inside a page."""
RESOURCES = {
    "cpu_us": "CPU-seconds",
    "wall_us": "wall seconds of jobs",
    "jobs": "jobs",
    "output_bytes": "output, MiB",
    "tokens": "tokens",
    "money_micros": "money",
    "looks": "looks at held-out data",
    "gpu_us": "GPU-seconds",
}
STATUS: dict[type[HeirloopError], int] = {
    BadInput: 400,
    NeedsHuman: 409,
    Stopped: 409,
    VerificationFailed: 422,
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


def make_templates() -> Environment:
    """Return the templates: every value is made visible and escaped, whoever wrote it; a missing
    value is an error.
    """
    environment = Environment(
        loader=PackageLoader("loop.inbox"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
    )
    environment.filters["json"] = lambda value: canonical(value).decode()
    environment.filters["script"] = lambda value: Markup(
        canonical(value).decode().translate(SCRIPT)
    )
    environment.filters["left"], environment.filters["amount"], environment.filters["resource"] = (
        _left,
        _amount,
        lambda name: RESOURCES.get(name, name),
    )
    return environment


def make_app(folder: Path, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """Return the application for a run or a folder of runs, answering to these host names alone."""
    app = FastAPI(
        title="Heirloop inbox",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        telemetry={"auto_configure": False},
    )
    app.state.runs = ServedRuns(folder)
    app.state.sign_ins = SignIns()
    app.state.pages = make_templates()
    app.mount("/static", StaticFiles(packages=[("loop.inbox", "static")]), name="static")
    for topic in (enter, watch, decide, claims):
        app.include_router(topic.router)
    app.add_middleware(_Guard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.exception_handler(SignedOut)(_ask_to_sign_in)
    app.exception_handler(HeirloopError)(_failed)
    return app


class _Guard:
    """Guard before every address: it refuses bad requests unread, and adds the headers to every
    answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Content-Security-Policy", POLICY)
            await send(message)

        refused = _refused(Request(scope)) if scope["type"] == "http" else ""
        await (PlainTextResponse(refused, status_code=403) if refused else self._app)(
            scope, receive, answer
        )


async def _ask_to_sign_in(request: Request, _: Exception) -> Response:
    if wants_json(request):
        return JSONResponse({"error": "you are signed out; nothing was recorded"}, status_code=401)
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": "/enter"})
    return RedirectResponse("/enter", status_code=303)


async def _failed(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    if wants_json(request):
        return JSONResponse({"error": str(error)}, status_code=status)
    return page(
        request,
        "error.html",
        request.app.state.sign_ins.session(request.cookies.get(COOKIE)),
        status,
        text=str(error),
    )


def serve(
    folder: Path,
    host: str,
    port: int,
    names: tuple[str, ...],
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Serve the inbox until it is interrupted; raises BadInput off loopback without TLS, for a bad
    certificate or an unavailable address.
    """
    import uvicorn

    need(
        host in LOOPBACK or bool(certificate and key),
        "--host",
        host,
        "a loopback address, or any with --certificate and --certificate-key (TLS)",
    )
    app = make_app(folder, (*LOOPBACK, host, *names))
    place = _open_socket(host, port, certificate, key)
    scheme = "https" if certificate else "http"
    print(
        f"inbox: {scheme}://{host}:{place.getsockname()[1]}  (Ctrl-C ends it; `heirloop keys invite"
        " NAME` lets a browser enrol a key)",
        flush=True,
    )
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    uvicorn.Server(config).run(sockets=[place])


def _open_socket(host: str, port: int, certificate: Path | None, key: Path | None) -> socket.socket:
    """Return a listening socket; raise BadInput for a bad certificate or an unavailable address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if certificate:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        return socket.create_server((host, port), family=family)
    except ssl.SSLError as error:
        raise BadInput(
            f"--certificate is {str(certificate)!r}; it should be a PEM chain that fits"
            f" --certificate-key ({error.reason})"
        ) from None
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"the inbox cannot be served on {host}:{port} ({error}); choose another --port, or"
            " files that can be read"
        ) from None


def _refused(request: Request) -> str:
    """Return the reason for refusing a request unread, for example another origin's POST. A body
    may be too large, or of unknown length.
    """
    if request.method not in ("GET", "HEAD", "POST"):
        return "only GET and POST are answered"
    if (
        request.url.path == "/enter"
        and request.headers.get("sec-fetch-site") == "cross-site"
        and request.headers.get("sec-fetch-mode") != "navigate"
    ):
        return "another page asks for a challenge"
    if request.method == "POST":
        if request.headers.get("origin") != origin(request):
            return "the request comes from another page"
        size = request.headers.get("content-length", "")
        if "transfer-encoding" in request.headers or not size.isdigit() or int(size) > BODY_BYTES:
            return f"the body should say its length, at most {BODY_BYTES} bytes"
    return ""


def _amount(value: int, name: str) -> str:
    """Return an amount in the unit for people."""
    scale = {
        "cpu_us": 1e6,
        "wall_us": 1e6,
        "gpu_us": 1e6,
        "output_bytes": 2**20,
        "money_micros": 1e6,
    }.get(name)
    return f"{value / scale:,.1f}" if scale else f"{value:,}"


def _left(seconds: int | None) -> str:
    """Return a time span for people."""
    if seconds is None:
        return "nobody asked"
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return (
        f"{hours} h {minutes} min"
        if hours
        else f"{minutes} min {seconds % 60} s"
        if minutes
        else f"{seconds} s"
    )
