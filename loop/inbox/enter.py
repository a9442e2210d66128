"""Addresses for signing in and out, and for enrolling a browser's key."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from loop.inbox.access import COOKIE, Reader, origin, page, sign_ins_of
from loop.inbox.sign_in import is_same
from sandbox import keys

router = APIRouter()


@router.get("/enter")
def enter(request: Request) -> Response:
    """Show the page for signing in."""
    return page(
        request, "enter.html", None, nonce=sign_ins_of(request).challenge(), kinds=keys.KINDS
    )


@router.post("/enter")
def sign_in(request: Request, envelope: Annotated[str, Form()]) -> Response:
    """Let a signed challenge in."""
    secret = sign_ins_of(request).enter(envelope.encode(), origin(request))
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
def enrol(envelope: Annotated[str, Form()]) -> Response:
    """Take the public half of a key made by a browser."""
    return JSONResponse(keys.enrol(envelope.encode()))


@router.post("/leave")
def leave(request: Request, session: Reader, token: Annotated[str, Form()] = "") -> Response:
    """Sign out."""
    if is_same(token, session.token):
        sign_ins_of(request).leave(request.cookies.get(COOKIE))
    return RedirectResponse("/enter", status_code=303)
