"""Verbs for reviewers: sign, hand in, list waiting requests, serve the inbox.

A person at a terminal signs, never a pipe (loop/people/sign.py).
"""

import json
import time
from pathlib import Path
from typing import Any

import click

from configs.entries import NoticeEntry
from configs.errors import BadInput
from loop import terminal
from loop.people import sign
from loop.people.advice import quote
from loop.people.notice import is_acknowledgement, take
from loop.people.requests import hand_in, open_gate, read_request
from loop.people.send import Caller
from loop.terminal import AS_JSON, FOLDER, RUN
from sandbox.decision import Request
from sandbox.files import replace_file
from sandbox.foreign import read_file
from sandbox.gate import Gate

REQUEST_BYTES = 4_000_000
"""Longest file for `heirloop decide FILE`."""
KEY = click.option("--key", required=True, help="Reviewer's key that signs.")
CHANGE_CLASS = click.option(
    "--as",
    "change_class",
    default="",
    help="Class of the act, where it is not the plan's own, such as promote, deploy, unseal.",
)
OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write the signed decision to this file for `heirloop decide FILE`, here or elsewhere.",
)


def _make_verb(answer: str, text: str) -> click.Command:
    """Return the verb for signing an answer to a plan."""

    @click.command(answer, help=text)
    @click.argument("plan")
    @RUN
    @KEY
    @CHANGE_CLASS
    @click.option("--reason", default="", help="Why; signed and recorded.")
    @click.option("--hours", default=24, show_default=True, help="Life of the decision.")
    @OUT
    def verb(plan: str, folder: Path, **options: Any) -> None:
        sign.sign_decision(folder, plan, answer, **options)

    return verb


approve = _make_verb("approve", "Print a plan in full and sign a yes to exactly these bytes.")
deny = _make_verb("deny", "Print a plan in full and sign a no; the loop goes on without it.")
escalate = _make_verb(
    "escalate", "Print a plan in full and sign that an external reviewer must say yes besides."
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@RUN
@click.option("--key", default="", help="For a request: reviewer's key that signs.")
@click.option("--answer", default="", help="For a request: approve, deny or escalate.")
@click.option("--reason", default="", help="For a request: why; recorded.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="For a request: where the signed decision goes."
)
def decide(file: Path, folder: Path, key: str, answer: str, reason: str, out: Path | None) -> None:
    """Hand in a decision or an acknowledgement signed elsewhere, or sign a request file on a
    machine without network.
    """
    data = _read_file(file)
    if is_acknowledgement(data):
        _take_acknowledgement(folder, data)
        return
    request = read_request(data)
    if request is None:
        hand_in(open_gate(folder), data.strip())
        click.echo("recorded")
        return
    draft, lines = request
    envelope = sign.sign_request(draft, lines, key=key, answer=answer, reason=reason)
    sign.write_signed(out or file.with_suffix(".signed.json"), envelope, folder)


def _read_file(file: Path) -> bytes:
    try:
        return read_file(file, REQUEST_BYTES, follow=True)
    except OSError as error:
        raise BadInput(f"FILE is {str(file)!r}; it cannot be read ({error.strerror})") from None


def _take_acknowledgement(folder: Path, envelope: bytes) -> None:
    delay = take(open_gate(folder), envelope).delay_seconds
    click.echo(f"acknowledged, {delay:.0f} s after the delivery; it decides nothing")


@click.command()
@click.argument("digest")
@RUN
@click.option("--study", default="", help="Study of the message, where the run is elsewhere.")
@click.option("--entry", default="", help="Entry of the message, where the run is elsewhere.")
@click.option("--key", required=True, help="Receiver's key that signs.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write it to this file for `heirloop decide FILE`, here or elsewhere.",
)
def acknowledge(
    digest: str, folder: Path, study: str, entry: str, key: str, out: Path | None
) -> None:
    """Sign for the arrival of the notice DIGEST. It decides nothing."""
    envelope = sign.sign_acknowledgement(folder, digest, study, entry, key)
    if out:
        replace_file(out, envelope)
        click.echo(f"signed: {out}; `heirloop decide {quote(out)} --run RUN` hands it in")
        return
    _take_acknowledgement(folder, envelope)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; off loopback TLS is required.",
)
@click.option("--port", default=8321, show_default=True)
@click.option(
    "--name", "names", multiple=True, help="A further host name that the inbox answers to."
)
@click.option("--certificate", type=click.Path(path_type=Path), help="TLS certificate chain, PEM.")
@click.option("--certificate-key", type=click.Path(path_type=Path), help="TLS private key, PEM.")
def inbox(
    folder: Path,
    host: str,
    port: int,
    names: tuple[str, ...],
    certificate: Path | None,
    certificate_key: Path | None,
) -> None:
    """Serve the web inbox of a run, or of a folder of runs: read, decide, watch, stop."""
    try:
        from loop.inbox.app import serve
    except ImportError as error:
        raise BadInput(
            f"the inbox needs {error.name}; `pip install -e '.[web]'` in the checkout brings it"
        ) from None
    serve(folder, host, port, names, certificate, certificate_key)


@click.command()
@FOLDER
@click.option("--watch", is_flag=True, help="Go on until it is interrupted.")
@AS_JSON
def notify(folder: Path, watch: bool, as_json: bool) -> None:
    """Send the notices that are due, for a study whose loop does not run."""
    caller = Caller(open_gate(folder), folder)
    attempts: list[NoticeEntry] = []
    while (new := caller.deliver()) or watch:
        attempts += new
        for attempt in new if watch else ():
            click.echo(f"{attempt.what} to {attempt.to}: {attempt.error or 'sent'}")
        time.sleep(0 if new else 2)
    head = ["what", "to", "scheme", "attempt", "ok", "error", "digest"]
    rows = [[getattr(attempt, name) for name in head] for attempt in attempts]
    if not as_json:
        rows = [[terminal.write_truth(value) for value in row] for row in rows]
    terminal.print_table(rows, head, as_json)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs/quickstart"))
@AS_JSON
def pending(folder: Path, as_json: bool) -> None:
    """List the requests waiting for a decision, with the proposers' claims."""
    gate = open_gate(folder)
    head = ["plan", "arm", "class", "minutes left", "change", "claimed gain", "claimed reason"]
    rows = [_request_row(gate, request, as_json) for request in gate.pending()]
    terminal.print_table(rows, head, as_json)
    if gate.memory.rules.config.gates.canaries and not as_json:
        click.echo("some requests of this study are canaries: they test the gate and can never run")


def _request_row(gate: Gate, request: Request, whole: bool) -> list[Any]:
    """Return a request as cells; a digest is whole, or its first twelve characters."""
    minutes = max(0, int(request.expires - gate.now()) // 60)
    name = request.subject if whole else request.subject[:12]
    plan = gate.memory.plans.get(request.subject) or gate.memory.probes.get(request.subject)
    claim = [json.dumps(plan.changed), plan.predicted_gain, plan.hypothesis] if plan else []
    return [name, request.arm, request.change_class, minutes, *(claim or ["", None, ""])]
