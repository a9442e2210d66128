"""The routes of the inbox. Every answer carries a strict Content-Security-Policy; every POST a session's token and this page's origin.

Nothing here decides: a signed envelope goes to the gate, which checks it as it checks any other. Orders go to `sandbox.control`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.middleware.trustedhost import TrustedHostMiddleware

from configs.build import need
from configs.errors import BadInput, HeirloopError, NeedsHuman, Stopped, VerificationFailed
from loop import people
from loop.inbox.door import Door, Session, same
from loop.inbox.pages import PAGE, Run, Runs
from loop.study import places
from loop.text import visible
from sandbox import control, keys
from sandbox.canonical import canonical
from sandbox.gate import Gate

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
          "frame-ancestors 'none'; base-uri 'none'")  # fmt: skip
FIGURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A figure or report is a document of its own without scripts; the plotting library writes style attributes."""
HEADERS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store", "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
BODY_BYTES = 1_000_000
"""The largest request body that is read."""
SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""What must not stand in a block of JSON inside a page."""
RESOURCES = {"cpu_us": "CPU-seconds", "wall_us": "wall seconds of jobs", "jobs": "jobs", "output_bytes": "output, MiB", "tokens": "tokens",
             "money_micros": "money"}  # fmt: skip
STATUS: dict[type[HeirloopError], int] = {BadInput: 400, NeedsHuman: 409, Stopped: 409, VerificationFailed: 422}
COOKIE = "heirloop"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


class SignIn(Exception):
    """Nobody is signed in; the reader is sent to the door."""


def templates() -> Environment:
    """Return the templates: every value is made visible and escaped, whoever wrote it; a missing one is an error."""
    found = Environment(loader=PackageLoader("loop.inbox"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value)  # fmt: skip
    found.filters["json"] = lambda value: canonical(value).decode()
    found.filters["script"] = lambda value: Markup(canonical(value).decode().translate(SCRIPT))
    found.filters["left"], found.filters["amount"], found.filters["resource"] = _left, _amount, lambda name: RESOURCES.get(name, name)
    return found


def make_app(folder: Path, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """Return the application for a run or a folder of runs, answering to these host names alone."""
    app = FastAPI(title="Heirloop inbox", docs_url=None, redoc_url=None, openapi_url=None)
    runs, door, pages = Runs(folder), Door(), templates()
    app.state.runs, app.state.door = runs, door
    app.mount("/static", StaticFiles(packages=[("loop.inbox", "static")]), name="static")

    def page(name: str, session: Session | None, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(pages.get_template(name).render(session=session, **values), status_code=status)

    def reader(request: Request) -> Session:
        session = door.session(request.cookies.get(COOKIE))
        if session is None:
            raise SignIn
        return session

    def decider(session: Annotated[Session, Depends(reader)], token: Annotated[str, Form()] = "") -> Session:
        if not same(token, session.token):
            raise VerificationFailed("the form does not carry this session's token; reload the page")
        if not session.decides:
            raise BadInput("an auditor reads everything and decides nothing")
        return session

    def run_of(run: str) -> Run:
        return runs.open(run)

    Reader, Decider, Its = Annotated[Session, Depends(reader)], Annotated[Session, Depends(decider)], Annotated[Run, Depends(run_of)]

    @app.middleware("http")
    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        refused = _refused(request)
        response = PlainTextResponse(refused, status_code=403) if refused else await call(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    @app.exception_handler(SignIn)
    async def to_door(request: Request, _: Exception) -> Response:
        if request.headers.get("hx-request"):
            return Response(status_code=204, headers={"HX-Redirect": "/enter"})
        return RedirectResponse("/enter", status_code=303)

    @app.exception_handler(HeirloopError)
    async def failed(request: Request, error: Exception) -> Response:
        status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
        if _wants_json(request):
            return JSONResponse({"error": str(error)}, status_code=status)
        return page("error.html", door.session(request.cookies.get(COOKIE)), status, text=str(error))

    @app.get("/enter")
    def enter() -> Response:
        return page("enter.html", None, nonce=door.challenge(), kinds=keys.KINDS)

    @app.post("/enter")
    def entered(request: Request, envelope: Annotated[str, Form()]) -> Response:
        secret = door.enter(envelope.encode(), _origin(request))
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/")
        return response

    @app.post("/enrol")
    def enrolled(envelope: Annotated[str, Form()]) -> Response:
        return JSONResponse(keys.enrol(envelope.encode()))

    @app.post("/leave")
    def leave(request: Request, session: Reader, token: Annotated[str, Form()] = "") -> Response:
        if same(token, session.token):
            door.leave(request.cookies.get(COOKIE))
        return RedirectResponse("/enter", status_code=303)

    @app.get("/")
    def home(session: Reader, at: int = 0) -> Response:
        rows, count = runs.pending(max(0, at))
        return page("list.html", session, rows=rows, count=count, at=max(0, at), per_page=PAGE, runs=list(runs.each()))

    @app.get("/runs/{run}")
    def live(session: Reader, found: Its) -> Response:
        return page("live.html", session, run=found, live=found.live(), part=False)

    @app.get("/runs/{run}/live")
    def part(session: Reader, found: Its) -> Response:
        return page("now.html", session, run=found, live=found.live())

    @app.get("/runs/{run}/events")
    async def events(request: Request, session: Reader, found: Its) -> Response:
        return StreamingResponse(_events(request, found, lambda: door.session(request.cookies.get(COOKIE)) is not None), media_type="text/event-stream")

    @app.get("/runs/{run}/figure/{name}.svg")
    def figure(session: Reader, found: Its, name: str) -> Response:
        need(name in ("scores", "budget"), "figure", name, "scores or budget")
        return Response(found.figure(name), media_type="image/svg+xml", headers={"Content-Security-Policy": FIGURE_POLICY})

    @app.get("/runs/{run}/report")
    def report(session: Reader, found: Its) -> Response:
        path = found.folder / "report.html"
        if not path.is_file():
            raise BadInput(f"{found.name} has no report yet; it is written when the run ends or stops")
        return HTMLResponse(path.read_text(), headers={"Content-Security-Policy": FIGURE_POLICY})

    @app.get("/runs/{run}/incidents/{name}")
    def incident(session: Reader, found: Its, name: str) -> Response:
        data, _ = people.export_incident(found.folder, name)
        return page("incident.html", session, run=found, told=json.loads(data))

    @app.get("/runs/{run}/plan/{name}")
    def subject(session: Reader, found: Its, name: str, act: str = "") -> Response:
        try:
            told = found.facts(name, act)
        except BadInput as error:
            if name not in found.gate.subjects:
                raise
            return page("large.html", session, run=found, name=name, text=str(error), draft=found.draft(name, act, session), act=act, pinned=found.pins(session))
        return page("plan.html", session, run=found, f=told, draft=found.draft(name, act, session), pinned=found.pins(session),
                    waits=any((r.subject, r.change_class) == (name, told.change_class) for r in found.rows()))  # fmt: skip

    @app.get("/runs/{run}/request/{name}.json")
    def request_file(session: Reader, found: Its, name: str, act: str = "") -> Response:
        found.facts(name, act)
        return _file(people.request_file(found.fresh(), name, act), f"request-{name[:12]}.json")

    @app.post("/runs/{run}/plan/{name}")
    def decided(request: Request, session: Decider, found: Its, name: str, typed: Annotated[str, Form()] = "", envelope: Annotated[str, Form()] = "",
                file: UploadFile | None = None) -> Response:  # fmt: skip
        answer = _hand_in(found.fresh(), file.file.read(BODY_BYTES) if file else envelope.encode(), name, typed, bool(file))
        return JSONResponse({"recorded": answer}) if _wants_json(request) else RedirectResponse(f"/runs/{found.name}", status_code=303)

    @app.post("/runs/{run}/order")
    def order(session: Decider, found: Its, what: Annotated[str, Form()], why: Annotated[str, Form()] = "", per_hour: Annotated[int, Form()] = 0) -> Response:
        need(what in ("stop", "pause", "slow", "resume"), "what", what, "stop, pause, slow or resume")
        if what == "stop":
            control.stop(found.folder, session.who, why)
        elif what == "resume":
            try:
                people.resume(found.folder, session.who)
            except NeedsHuman:
                return RedirectResponse(f"/runs/{found.name}/plan/{found.fresh().halted}?act=resume", status_code=303)
        else:
            control.order(found.gate.ledger, "pause" if what == "pause" else "slow", session.who, why, per_hour)
        return RedirectResponse(f"/runs/{found.name}", status_code=303)

    @app.get("/runs/{run}/heads")
    def heads(session: Reader, found: Its) -> Response:
        entries = found.gate.ledger.entries()
        lines = places(found.folder, entries[0].hash)[0]
        signed = [json.loads(line) for line in lines.read_bytes().splitlines()] if lines.is_file() else []
        return JSONResponse({"study": entries[0].hash, "key": entries[0].body["checkpoint_key"], "heads": signed, "count": len(entries)})

    @app.get("/runs/{run}/hashes")
    def hashes(session: Reader, found: Its, at: str = "") -> Response:
        entries = found.gate.ledger.entries()
        wanted = [int(n) for n in at.split(",")[:10_000] if n.isdigit()]
        return JSONResponse({n: entries[n - 1].hash if 0 < n <= len(entries) else "" for n in wanted})

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return app


def serve(folder: Path, host: str, port: int, names: tuple[str, ...], certificate: Path | None, key: Path | None) -> None:
    """Serve the inbox until it is interrupted; raises BadInput off loopback without TLS."""
    import uvicorn

    need(host in LOOPBACK or bool(certificate and key), "--host", host, "a loopback address, or any with --certificate and --certificate-key (TLS)")
    uvicorn.run(make_app(folder, (*LOOPBACK, host, *names)), host=host, port=port, access_log=False, log_level="warning", server_header=False,
                ssl_certfile=certificate, ssl_keyfile=key)  # fmt: skip


def _hand_in(gate: Gate, envelope: bytes, name: str, typed: str, offline: bool) -> str:
    """Give a signed decision to the gate. A yes needs the digest's beginning typed (offline it was typed where it was signed)."""
    said = keys.payload_unchecked(envelope)
    need(said.get("plan") == name, "the decision", said.get("plan"), f"on {name}, which this page shows")
    need(bool(str(said.get("reason", "")).strip()), "reason", said.get("reason"), "a sentence that says why")
    need(offline or said.get("answer") != "approve" or typed == name[:6], "the typed characters", typed, f"{name[:6]}, the digest's first six")
    refused = gate.admit(envelope, "approval")
    if refused:
        raise VerificationFailed(refused)
    return str(said["answer"])


def _refused(request: Request) -> str:
    """Return why a request is not even looked at: another origin's POST, or a body too large or of unknown length."""
    if request.method not in ("GET", "HEAD", "POST"):
        return "only GET and POST are answered"
    if request.method == "POST":
        if request.headers.get("origin") != _origin(request):
            return "the request comes from another page"
        size = request.headers.get("content-length", "")
        if not size.isdigit() or int(size) > BODY_BYTES:
            return f"the body should say its length, at most {BODY_BYTES} bytes"
    return ""


def _wants_json(request: Request) -> bool:
    return request.headers.get("accept", "").startswith("application/json")


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


async def _events(request: Request, run: Run, allowed: Callable[[], bool]) -> AsyncIterator[str]:
    """Tell the page, within half a second, that the ledger grew."""
    seen = 0
    while allowed() and not await request.is_disconnected():
        head = await asyncio.to_thread(run.head)
        if head != seen:
            seen = head
            yield f"event: changed\ndata: {head}\n\n"
        await asyncio.sleep(0.5)


def _file(data: bytes, name: str) -> Response:
    return Response(data, media_type="application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _amount(value: int, name: str) -> str:
    """Return an amount in the unit that people read."""
    scale = {"cpu_us": 1e6, "wall_us": 1e6, "output_bytes": 2**20, "money_micros": 1e6}.get(name)
    return f"{value / scale:,.1f}" if scale else f"{value:,}"


def _left(seconds: int | None) -> str:
    """Return a time span for people."""
    if seconds is None:
        return "nobody asked"
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
