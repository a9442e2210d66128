"""The routes of the inbox: what each address shows, and what each form does.

Nothing here decides: a signed envelope goes to the gate, which checks it as it checks any other.
Orders go to `sandbox.control`.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, UploadFile
from fastapi.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from configs.build import need, strict_json
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from configs.recipe import grid
from loop.inbox.door import Door, Session, same
from loop.inbox.pages import PAGE, Run, Runs
from loop.people import acts, requests
from loop.people.view import TooLarge
from loop.propose import by_hand
from loop.report.incident import export_incident
from loop.study.root import places
from sandbox import control, keys
from sandbox.gate import Gate

COOKIE = "heirloop"
BODY_BYTES = 1_000_000
"""The largest request body that is read."""
FIGURE_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""A figure or report is a document of its own without scripts; the plotting library writes style
attributes.
"""
router = APIRouter()


class SignIn(Exception):
    """Nobody is signed in; the reader is sent to the door."""


def page(
    request: Request, template: str, session: Session | None, status: int = 200, **values: Any
) -> HTMLResponse:
    """Return a page from its template."""
    return HTMLResponse(
        request.app.state.pages.get_template(template).render(session=session, **values),
        status_code=status,
    )


def door_of(request: Request) -> Door:
    """Return the door of the application."""
    found: Door = request.app.state.door
    return found


def reader(request: Request) -> Session:
    """Return who is signed in; raises SignIn."""
    session = door_of(request).session(request.cookies.get(COOKIE))
    if session is None:
        raise SignIn
    return session


def decider(
    session: Annotated[Session, Depends(reader)], token: Annotated[str, Form()] = ""
) -> Session:
    """Return who is signed in and may act; raises VerificationFailed for a form without the
    session's token, BadInput for an auditor.
    """
    if not same(token, session.token):
        raise VerificationFailed("the form does not carry this session's token; reload the page")
    if not session.decides:
        raise BadInput("an auditor reads everything and decides nothing")
    return session


def runs_of(request: Request) -> Runs:
    """Return the runs that are served."""
    found: Runs = request.app.state.runs
    return found


def run_of(request: Request, run: str) -> Run:
    """Return the run that an address names; raises BadInput."""
    return runs_of(request).open(run)


Reader = Annotated[Session, Depends(reader)]
Decider = Annotated[Session, Depends(decider)]
Its = Annotated[Run, Depends(run_of)]


@router.get("/enter")
def enter(request: Request) -> Response:
    """Show the door."""
    return page(request, "enter.html", None, nonce=door_of(request).challenge(), kinds=keys.KINDS)


@router.post("/enter")
def entered(request: Request, envelope: Annotated[str, Form()]) -> Response:
    """Let a signed challenge in."""
    secret = door_of(request).enter(envelope.encode(), origin(request))
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        COOKIE,
        secret,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    return response


@router.post("/enrol")
def enrolled(envelope: Annotated[str, Form()]) -> Response:
    """Take the public half of a key that a browser made."""
    return JSONResponse(keys.enrol(envelope.encode()))


@router.post("/leave")
def leave(request: Request, session: Reader, token: Annotated[str, Form()] = "") -> Response:
    """Sign out."""
    if same(token, session.token):
        door_of(request).leave(request.cookies.get(COOKIE))
    return RedirectResponse("/enter", status_code=303)


@router.get("/")
def home(request: Request, session: Reader, at: int = 0) -> Response:
    """List what waits, and the runs."""
    rows, count = runs_of(request).pending(max(0, at))
    return page(
        request,
        "list.html",
        session,
        rows=rows,
        count=count,
        at=max(0, at),
        per_page=PAGE,
        runs=list(runs_of(request).each()),
    )


@router.get("/runs/{run}")
def live(request: Request, session: Reader, found: Its) -> Response:
    """Show a run as it goes on."""
    return page(request, "live.html", session, run=found, live=found.live(), part=False)


@router.get("/runs/{run}/live")
def part(request: Request, session: Reader, found: Its) -> Response:
    """Show the part of that page that changes."""
    return page(request, "now.html", session, run=found, live=found.live())


@router.get("/runs/{run}/events")
async def events(request: Request, session: Reader, found: Its) -> Response:
    """Tell the page that the ledger grew."""
    door, cookie = door_of(request), request.cookies.get(COOKIE)
    return StreamingResponse(
        _events(request, found, lambda: door.session(cookie) is not None),
        media_type="text/event-stream",
    )


@router.get("/runs/{run}/figure/{name}.svg")
def figure(session: Reader, found: Its, name: str) -> Response:
    """Draw a figure."""
    need(name in ("scores", "budget"), "figure", name, "scores or budget")
    return Response(found.figure(name), media_type="image/svg+xml", headers=FIGURE_POLICY)


@router.get("/runs/{run}/report")
def report(session: Reader, found: Its) -> Response:
    """Show the run's report."""
    path = found.folder / "report.html"
    if not path.is_file():
        raise BadInput(f"{found.name} has no report yet; it is written when the run ends or stops")
    return HTMLResponse(path.read_text(), headers=FIGURE_POLICY)


@router.get("/runs/{run}/incidents/{name}")
def incident(request: Request, session: Reader, found: Its, name: str) -> Response:
    """Show an incident whole."""
    data, _ = export_incident(found.folder, name)
    return page(request, "incident.html", session, run=found, told=json.loads(data))


@router.get("/runs/{run}/plan/{name}")
def subject(request: Request, session: Reader, found: Its, name: str, act: str = "") -> Response:
    """Show one subject whole, and the form that decides."""
    given: dict[str, Any] = {
        "run": found,
        "draft": found.draft(name, act, session),
        "pinned": found.pins(session),
    }
    try:
        told = found.facts(name, act)
    except TooLarge as error:
        return page(request, "large.html", session, digest=name, text=str(error), act=act, **given)
    waits = any((r.subject, r.change_class) == (name, told.change_class) for r in found.rows())
    return page(request, "plan.html", session, f=told, waits=waits, **given)


@router.get("/runs/{run}/request/{name}.json")
def request_file(session: Reader, found: Its, name: str, act: str = "") -> Response:
    """Give a request as a file."""
    found.facts(name, act)
    data = requests.request_file(found.fresh(), name, act)
    return Response(
        data,
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="request-{name[:12]}.json"'},
    )


@router.post("/runs/{run}/plan/{name}")
def decided(
    request: Request,
    session: Decider,
    found: Its,
    name: str,
    typed: Annotated[str, Form()] = "",
    envelope: Annotated[str, Form()] = "",
    file: UploadFile | None = None,
) -> Response:
    """Take a signed decision."""
    answer = _hand_in(
        found.fresh(),
        file.file.read(BODY_BYTES).strip() if file else envelope.encode(),
        name,
        typed,
        bool(file),
    )
    return (
        JSONResponse({"recorded": answer})
        if wants_json(request)
        else RedirectResponse(f"/runs/{found.name}", status_code=303)
    )


@router.post("/runs/{run}/order")
def order(
    session: Decider,
    found: Its,
    what: Annotated[str, Form()],
    why: Annotated[str, Form()] = "",
    per_hour: Annotated[int, Form()] = 0,
) -> Response:
    """Obey an order: stop, pause, slow, resume."""
    need(what in ("stop", "pause", "slow", "resume"), "what", what, "stop, pause, slow or resume")
    if what == "stop":
        control.stop(found.folder, session.who, why)
    elif what == "resume":
        try:
            acts.resume(found.folder, session.who)
        except NeedsHuman:
            return RedirectResponse(
                f"/runs/{found.name}/plan/{found.fresh().halted}?act=resume", status_code=303
            )
    else:
        control.order(
            found.gate.ledger, "pause" if what == "pause" else "slow", session.who, why, per_hour
        )
    return RedirectResponse(f"/runs/{found.name}", status_code=303)


@router.get("/runs/{run}/propose")
def proposal(request: Request, session: Reader, found: Its) -> Response:
    """Show the form by which people propose."""
    return page(
        request,
        "propose.html",
        session,
        run=found,
        knobs=grid(found.config.task.notebook),
        arms=found.by_hand,
    )


@router.post("/runs/{run}/propose")
def proposed(
    request: Request,
    session: Decider,
    found: Its,
    arm: Annotated[str, Form()],
    hypothesis: Annotated[str, Form()] = "",
    knobs: Annotated[str, Form()] = "",
    gain: Annotated[str, Form()] = "",
    edits: Annotated[str, Form()] = "",
    repeat: Annotated[int, Form()] = 0,
) -> Response:
    """Take a proposal of a person; it is recorded with the name of the key that signed in."""
    told = {
        "hypothesis": hypothesis,
        "knobs": strict_json(knobs or "{}"),
        "predicted_gain": strict_json(gain or "null"),
        "edits": strict_json(edits or "[]"),
    }
    by_hand.hand_in_proposal(found.folder, json.dumps(told), arm, repeat, session.who, session.name)
    return RedirectResponse(f"/runs/{found.name}", status_code=303)


@router.get("/runs/{run}/heads")
def heads(session: Reader, found: Its) -> Response:
    """Give the signed heads, for an auditor's own copy."""
    entries = found.gate.ledger.entries()
    lines = places(found.folder, entries[0].hash)[0]
    signed = (
        [json.loads(line) for line in lines.read_bytes().splitlines()] if lines.is_file() else []
    )
    return JSONResponse(
        {
            "study": entries[0].hash,
            "key": entries[0].body["checkpoint_key"],
            "heads": signed,
            "count": len(entries),
        }
    )


@router.get("/runs/{run}/hashes")
def hashes(session: Reader, found: Its, at: str = "") -> Response:
    """Tell the hash of each entry that is asked for."""
    entries = found.gate.ledger.entries()
    wanted = [int(n) for n in at.split(",")[:10_000] if re.fullmatch("[0-9]{1,15}", n)]
    return JSONResponse({n: entries[n - 1].hash if 0 < n <= len(entries) else "" for n in wanted})


def _hand_in(gate: Gate, envelope: bytes, name: str, typed: str, offline: bool) -> str:
    """Give a signed decision to the gate. A yes needs the digest's beginning typed (offline it was
    typed where it was signed).
    """
    said = keys.payload_unchecked(envelope)
    need(
        said.get("plan") == name,
        "the decision",
        said.get("plan"),
        f"on {name}, which this page shows",
    )
    need(
        bool(str(said.get("reason", "")).strip()),
        "reason",
        said.get("reason"),
        "a sentence that says why",
    )
    need(
        offline or said.get("answer") != "approve" or typed == name[:6],
        "the typed characters",
        typed,
        f"{name[:6]}, the digest's first six",
    )
    requests.hand_in(gate, envelope)
    return str(said["answer"])


async def _events(request: Request, run: Run, allowed: Callable[[], bool]) -> AsyncIterator[str]:
    """Tell the page, within half a second, that the ledger grew or that the run began or ended."""
    seen: tuple[int, str] = (0, "")
    while allowed() and not await request.is_disconnected():
        now = await asyncio.to_thread(lambda: (run.head(), run.state()))
        if now != seen:
            seen = now
            yield f"event: changed\ndata: {now[0]}\n\n"
        await asyncio.sleep(0.5)


def wants_json(request: Request) -> bool:
    """Tell whether a script asks, who reads JSON, rather than a person."""
    return request.headers.get("accept", "").startswith("application/json")


def origin(request: Request) -> str:
    """Return the origin of this server as the browser knows it."""
    return f"{request.url.scheme}://{request.headers.get('host', '')}"
