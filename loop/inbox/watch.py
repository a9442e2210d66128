"""Addresses for readers: the list, a run as it goes on, its figures, report and heads."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from configs.build import need
from configs.entries import StudyEntry
from configs.errors import BadInput
from loop.inbox.access import COOKIE, NamedRun, Reader, page, runs_of, sign_ins_of
from loop.inbox.runs import PAGE, ServedRun
from loop.report.incident import export_incident
from sandbox.files import read_lines
from sandbox.foreign import LINES_BYTES, read_file
from sandbox.heads import places

FIGURE_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""A figure or report is a document of its own without scripts; the plotting library writes style
attributes.
"""
router = APIRouter()


@router.get("/")
def list_requests(request: Request, session: Reader, at: int = 0, whole: int = 0) -> Response:
    """List the requests that wait for this reader, or all of them, and the runs.

    An auditor decides nothing and reads all.
    """
    runs, everything = runs_of(request), bool(whole) or not session.decides
    every = runs.waiting()
    own = every if everything else runs.waiting(session)
    first = max(0, at) * PAGE
    # Only the rows of the page are made: a row reads its plan.
    rows = [run.row(waiting) for run, waiting in own[first : first + PAGE]]
    return page(
        request,
        "list.html",
        session,
        rows=rows,
        count=len(own),
        others=len(every) - len(own),
        whole=everything,
        at=max(0, at),
        per_page=PAGE,
        runs=list(runs.each()),
    )


@router.get("/runs/{run}")
def show_run(request: Request, session: Reader, served: NamedRun) -> Response:
    """Show a run as it goes on."""
    return page(request, "live.html", session, run=served, live=served.live(), part=False)


@router.get("/runs/{run}/live")
def show_part(request: Request, session: Reader, served: NamedRun) -> Response:
    """Show the changing part of the run's page."""
    return page(request, "now.html", session, run=served, live=served.live())


@router.get("/runs/{run}/events")
async def send_events(request: Request, session: Reader, served: NamedRun) -> Response:
    """Tell the page about new entries of the ledger."""
    sign_ins, cookie = sign_ins_of(request), request.cookies.get(COOKIE)
    return StreamingResponse(
        _events(request, served, lambda: sign_ins.session(cookie) is not None),
        media_type="text/event-stream",
    )


@router.get("/runs/{run}/figure/{name}.svg")
def draw_figure(session: Reader, served: NamedRun, name: str) -> Response:
    """Draw a figure."""
    need(name in ("scores", "budget"), "figure", name, "scores or budget")
    return Response(served.figure(name), media_type="image/svg+xml", headers=FIGURE_POLICY)


@router.get("/runs/{run}/report")
def show_report(session: Reader, served: NamedRun) -> Response:
    """Show the run's report."""
    path = served.folder / "report.html"
    if not path.is_file():
        raise BadInput(f"{served.name} has no report yet; it is written when the run ends or stops")
    return HTMLResponse(read_file(path, LINES_BYTES).decode(), headers=FIGURE_POLICY)


@router.get("/runs/{run}/incidents/{name}")
def show_incident(request: Request, session: Reader, served: NamedRun, name: str) -> Response:
    """Show an incident whole."""
    data, _ = export_incident(served.folder, name)
    return page(request, "incident.html", session, run=served, told=json.loads(data))


@router.get("/runs/{run}/heads")
def give_heads(session: Reader, served: NamedRun) -> Response:
    """Give the signed heads, for an auditor's own copy."""
    entries = served.gate.ledger.entries()
    lines = places(served.folder, entries[0].hash)[0]
    texts = read_lines(lines)
    root = entries[0].fact
    assert isinstance(root, StudyEntry)
    return JSONResponse(
        {
            "study": entries[0].hash,
            "key": root.checkpoint_key,
            "heads": [json.loads(text) for text in texts],
            "count": entries[-1].sequence,
        }
    )


@router.get("/runs/{run}/hashes")
def give_hashes(session: Reader, served: NamedRun, at: str = "") -> Response:
    """Tell the hash of each requested entry."""
    hashes = {entry.sequence: entry.hash for entry in served.gate.ledger.entries()}
    wanted = [int(n) for n in at.split(",")[:10_000] if re.fullmatch("[0-9]{1,15}", n)]
    return JSONResponse({n: hashes.get(n, "") for n in wanted})


async def _events(
    request: Request, run: ServedRun, allowed: Callable[[], bool]
) -> AsyncIterator[str]:
    """Tell the page within half a second: the ledger grew, or the run began or ended."""
    before: tuple[int, str] = (0, "")
    while allowed() and not await request.is_disconnected():
        now = await asyncio.to_thread(lambda: (run.head(), run.state()))
        if now != before:
            before = now
            yield f"event: changed\ndata: {now[0]}\n\n"
        await asyncio.sleep(0.5)
