"""Access: the asking person, the run in question, and the answering page.

Routes take a `Reader` or a `Decider`. So no address answers a stranger, and a form on another page
is not obeyed.
"""

from typing import Annotated, Any

from fastapi import Depends, Form, Request
from fastapi.responses import HTMLResponse

from configs.errors import BadInput, VerificationFailed
from loop.inbox.runs import ServedRun, ServedRuns
from loop.inbox.sign_in import Session, SignIns, is_same

COOKIE = "heirloop"


class SignedOut(Exception):
    """Nobody is signed in; the reader is sent to the page for signing in."""


def page(
    request: Request, template: str, session: Session | None, status: int = 200, **values: Any
) -> HTMLResponse:
    """Return a page from its template."""
    return HTMLResponse(
        request.app.state.pages.get_template(template).render(session=session, **values),
        status_code=status,
    )


def sign_ins_of(request: Request) -> SignIns:
    """Return the sign-ins of the application."""
    sign_ins: SignIns = request.app.state.sign_ins
    return sign_ins


def reader(request: Request) -> Session:
    """Return who is signed in; raise SignedOut."""
    session = sign_ins_of(request).session(request.cookies.get(COOKIE))
    if session is None:
        raise SignedOut
    return session


def decider(
    session: Annotated[Session, Depends(reader)], token: Annotated[str, Form()] = ""
) -> Session:
    """Return who is signed in and may act.

    Raises VerificationFailed for a form without the session's token, BadInput for an auditor.
    """
    if not is_same(token, session.token):
        raise VerificationFailed("the form does not carry this session's token; reload the page")
    if not session.decides:
        raise BadInput("an auditor reads everything and decides nothing")
    return session


def runs_of(request: Request) -> ServedRuns:
    """Return the served runs."""
    runs: ServedRuns = request.app.state.runs
    return runs


def run_of(request: Request, run: str) -> ServedRun:
    """Return the run named by an address; raise BadInput."""
    return runs_of(request).open(run)


Reader = Annotated[Session, Depends(reader)]
Decider = Annotated[Session, Depends(decider)]
NamedRun = Annotated[ServedRun, Depends(run_of)]


def wants_json(request: Request) -> bool:
    """Tell whether a script asks, who reads JSON, rather than a person."""
    return request.headers.get("accept", "").startswith("application/json")


def origin(request: Request) -> str:
    """Return the origin of this server as the browser knows it."""
    return f"{request.url.scheme}://{request.headers.get('host', '')}"
