"""Addresses for reviewers of claims: the claims of a study's write-ups, blind, and signed words on
them.

A reviewer sees what any reviewer sees: neither arm, plan, verdict nor check. Nothing here decides.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from configs.build import need
from configs.entries import ReviewedEntry, facts_of
from evals.writeups import KINDS, Stated
from loop.inbox.access import Decider, NamedRun, Reader, page
from loop.inbox.runs import Drawn, ServedRun
from loop.inbox.sign_in import Session
from loop.instruments.run import Run
from loop.instruments.writeups import draw_claims
from loop.people import claims
from loop.propose.outside import claim
from sandbox.canonical import digest

router = APIRouter()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRow:
    """A claim on the list."""

    name: str
    "its address: the beginning of the name by which people know it"
    stated: Stated
    "what is shown of it"
    done: bool
    "whether the reader has reviewed it"


@router.get("/runs/{run}/claims")
def show_claims(request: Request, session: Reader, served: NamedRun) -> Response:
    """Show the claims that people are asked about, in an order that tells nothing."""
    rows = _list_rows(served, session)
    values: dict[str, Any] = {"run": served, "rows": rows, "kinds": KINDS}
    left = [row for row in rows if not row.done]
    return page(request, "claims.html", session, left=left, may=_may(served, session), **values)


@router.get("/runs/{run}/claims/{name}")
def show_claim(request: Request, session: Reader, served: NamedRun, name: str) -> Response:
    """Show a claim, and the form for a review."""
    rows = {row.name: row for row in _list_rows(served, session)}
    need(name in rows, "the claim", name[:64], "one that this page lists")
    place = next(one for one in read_drawn(served) if _address(one) == name)
    data = read_drawn(served)[place][1]
    review = {
        "study": served.gate.memory.rules.root,
        "claim": claims.name_claim(*place),
        "shown": digest(data),
        "percent": 0,
        "reason": "",
        **{field: 0 for field in ("seen", "looked_ms", "at")},
        "kind": session.kind,
        "reviewer": session.name,
        "public": session.public,
        "nonce": "",
    }
    values: dict[str, Any] = {"run": served, "row": rows[name], "kinds": KINDS, "draft": review}
    values |= {"bytes": data.decode(), "may": _may(served, session)}
    return page(request, "claim.html", session, **values)


@router.post("/runs/{run}/claims/{name}")
def take_review(
    session: Decider, served: NamedRun, name: str, envelope: Annotated[str, Form()]
) -> Response:
    """Take a signed review."""
    asked = [(*place, data) for place, (_, data) in read_drawn(served).items()]
    claims.take_review(served.refresh(), envelope.encode(), asked)
    left = [row.name for row in _list_rows(served, session) if not row.done]
    further = {"next": f"/runs/{served.name}/claims/{left[0]}"} if left else {}
    return JSONResponse({"recorded": "review", **further})


@router.post("/runs/{run}/end-review")
def end_review(session: Decider, served: NamedRun) -> Response:
    """End the review: checks are told from now on."""
    asked = [(*place, data) for place, (_, data) in read_drawn(served).items()]
    need(_may(served, session), "the review", "not yours", "ended by a reviewer whom it pins")
    claims.end_reviews(served.folder, session.who, asked)
    return RedirectResponse(f"/runs/{served.name}", status_code=303)


def read_drawn(served: ServedRun) -> Drawn:
    """Return the claims that people are asked about; they are drawn once, since the study ended."""
    writeups = served.config.study.writeups
    if not served.drawn and writeups and served.asks_people():
        drawn = draw_claims(Run(0, served.gate.ledger), writeups.people)
        served.drawn = {
            place: (stated, claim.show_claim(stated))
            for own in drawn.values()
            for place, stated in own.items()
        }
    return served.drawn


def _list_rows(served: ServedRun, session: Session) -> list[ClaimRow]:
    """Return the claims; raise BadInput where the study asks people about none now."""
    right = "one that has ended, asks people about claims, and whose review goes on"
    need(served.asks_people(), "the run", served.name, right)
    own = {half.public for half in served.gate.memory.rules.reviewers}
    person = {half.public: half.person for half in served.gate.memory.rules.reviewers}
    done = {
        (fact.plan, fact.number)
        for fact in facts_of(served.refresh().ledger.entries(), ReviewedEntry)
        if fact.review
        and session.public in own
        and person.get(fact.review.public) == person[session.public]
    }
    rows = [
        ClaimRow(name=_address(place), stated=stated, done=place in done)
        for place, (stated, _) in read_drawn(served).items()
    ]
    return sorted(rows, key=lambda row: row.name)


def _address(place: tuple[str, int]) -> str:
    return claims.name_claim(*place)[:16]


def _may(served: ServedRun, session: Session) -> bool:
    return session.decides and served.pins(session)
