"""Addresses for deciders: a subject whole, a signed decision, an order, a proposal by hand.

Nothing here decides: a signed envelope goes to the gate, to be checked like any other. Orders go to
`sandbox.control`.
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import JSONResponse, RedirectResponse, Response

from configs.build import need, strict_json
from configs.errors import NeedsHuman
from configs.records import OrderName
from loop.inbox.access import Decider, NamedRun, Reader, page, runs_of, wants_json
from loop.people import acts, requests
from loop.people.view import TooLarge
from loop.propose import by_hand
from loop.propose.limit import describe_limit
from sandbox import control, keys
from sandbox.gate import Gate

BODY_BYTES = 1_000_000
"""The largest accepted request body."""
router = APIRouter()


@router.get("/runs/{run}/plan/{name}")
def show_subject(
    request: Request, session: Reader, served: NamedRun, name: str, act: str = ""
) -> Response:
    """Show a subject whole, and the form for deciding."""
    values: dict[str, Any] = {
        "run": served,
        "draft": served.draft(name, act, session),
        "pinned": served.pins(session),
    }
    try:
        view = served.view(name, act)
    except TooLarge as error:
        text = str(error)
        return page(request, "large.html", session, digest=name, text=text, act=act, **values)
    question = (name, view.change_class)
    waits = any((row.subject, row.change_class) == question for row in served.pending())
    session.opened.add((served.name, *question))
    further = runs_of(request).next_for(session, view.change_class)
    return page(request, "plan.html", session, f=view, waits=waits, further=further, **values)


@router.get("/batch")
def show_batch(request: Request, session: Reader) -> Response:
    """Show the approvals that the browser holds for a batch; the server holds none of them."""
    return page(request, "batch.html", session)


@router.get("/runs/{run}/request/{name}.json")
def give_request_file(session: Reader, served: NamedRun, name: str, act: str = "") -> Response:
    """Give a request as a file."""
    served.view(name, act)
    return Response(
        requests.request_file(served.refresh(), name, act),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="request-{name[:12]}.json"'},
    )


@router.post("/runs/{run}/plan/{name}")
def take_decision(
    request: Request,
    session: Decider,
    served: NamedRun,
    name: str,
    typed: Annotated[str, Form()] = "",
    envelope: Annotated[str, Form()] = "",
    file: UploadFile | None = None,
    batch: Annotated[str, Form()] = "",
) -> Response:
    """Take a signed decision, from the page's form, of a batch, or as a file."""
    data = file.file.read(BODY_BYTES).strip() if file else envelope.encode()
    if batch:
        change_class = str(keys.payload_unchecked(data).get("change_class"))
        opened = (served.name, name, change_class) in session.opened
        need(opened, "the batch", name[:12], "of plans that you have opened since you signed in")
    answer = _hand_in(served.refresh(), data, name, typed, offline=bool(file))
    if wants_json(request):
        further = runs_of(request).next_for(session)
        return JSONResponse({"recorded": answer, **({"next": further} if further else {})})
    return RedirectResponse(f"/runs/{served.name}", status_code=303)


def _hand_in(gate: Gate, envelope: bytes, name: str, typed: str, offline: bool) -> str:
    """Give a signed decision to the gate; return its answer.

    A yes needs the digest's beginning typed; offline it was typed on the signing machine.
    """
    claimed = keys.payload_unchecked(envelope)
    plan, reason, answer = (claimed.get(field) for field in ("plan", "reason", "answer"))
    need(plan == name, "the decision", plan, f"on {name}, which this page shows")
    need(bool(str(reason or "").strip()), "reason", reason, "a sentence that says why")
    confirmed = offline or answer != "approve" or typed == name[:6]
    need(confirmed, "the typed characters", typed, f"{name[:6]}, the digest's first six")
    requests.hand_in(gate, envelope)
    return str(claimed["answer"])


@router.post("/runs/{run}/order")
def take_order(
    session: Decider,
    served: NamedRun,
    what: Annotated[str, Form()],
    why: Annotated[str, Form()] = "",
    per_hour: Annotated[int, Form()] = 0,
) -> Response:
    """Obey an order: stop, pause, slow, resume."""
    back = f"/runs/{served.name}"
    need(what in ("stop", "pause", "slow", "resume"), "what", what, "stop, pause, slow or resume")
    if what == "stop":
        control.stop(served.folder, session.who, why)
    elif what == "resume":
        try:
            acts.resume(served.folder, session.who)
        except NeedsHuman:
            halted = served.refresh().memory.halted
            return RedirectResponse(f"{back}/plan/{halted}?act=resume", status_code=303)
    else:
        name: OrderName = "pause" if what == "pause" else "slow"
        control.hold(served.folder, name, session.who, why, per_hour)
    return RedirectResponse(back, status_code=303)


@router.get("/runs/{run}/propose")
def show_proposal_form(request: Request, session: Reader, served: NamedRun) -> Response:
    """Show the form for proposals by people."""
    knobs = served.config.task.choices()
    limit = describe_limit(served.config.study.most_changes)
    arms = served.by_hand
    return page(request, "propose.html", session, run=served, knobs=knobs, arms=arms, limit=limit)


@router.post("/runs/{run}/propose")
def take_proposal(
    request: Request,
    session: Decider,
    served: NamedRun,
    arm: Annotated[str, Form()],
    hypothesis: Annotated[str, Form()] = "",
    knobs: Annotated[str, Form()] = "",
    gain: Annotated[str, Form()] = "",
    edits: Annotated[str, Form()] = "",
    repeat: Annotated[int, Form()] = 0,
) -> Response:
    """Take a proposal of a person; it is recorded with the name of the signed-in key."""
    proposal = json.dumps(
        {
            "hypothesis": hypothesis,
            "knobs": strict_json(knobs or "{}"),
            "predicted_gain": strict_json(gain or "null"),
            "edits": strict_json(edits or "[]"),
        }
    )
    by_hand.hand_in_proposal(served.folder, proposal, arm, repeat, session.who, session.name)
    return RedirectResponse(f"/runs/{served.name}", status_code=303)
