"""Verbs of the people who decide: mandates, decisions, what waits, the inbox, calls and keys. A
person at a terminal signs, never a pipe.
"""

import json
from pathlib import Path
from typing import Any

import click

from configs.errors import NeedsHuman
from loop import terminal
from loop.terminal import AS_JSON, cli


@cli.group()
def mandate() -> None:
    """Standing approvals with caps."""


@mandate.command("grant", context_settings={"ignore_unknown_options": True})
@click.option(
    "--unattended",
    is_flag=True,
    help="Without a person at a terminal, within the study's fixed caps.",
)
@click.option("--key", help="Reviewer's key that signs.")
@click.option(
    "--classes",
    default="recipe,promote",
    show_default=True,
    help="Change classes, comma-separated.",
)
@click.option("--jobs", default=320, show_default=True)
@click.option("--cpu-seconds", default=900, show_default=True)
@click.option("--hours", default=24, show_default=True)
@click.argument("overrides", nargs=-1)
def grant(
    unattended: bool,
    key: str | None,
    classes: str,
    jobs: int,
    cpu_seconds: int,
    hours: int,
    overrides: tuple[str, ...],
) -> None:
    """Print a standing approval in full and sign it, for the study that OVERRIDES compose."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from configs.build import plain
    from configs.errors import BadInput
    from configs.records import Caps
    from loop.people.requests import open_gate
    from loop.settings import composed
    from sandbox import keys
    from sandbox.canonical import digest
    from sandbox.decision import new_mandate

    config = composed(overrides)
    run = Path(config.runs) / config.study.name
    version = open_gate(run).rules.version if (run / "ledger.sqlite").exists() else 1
    if unattended:
        if config.gates.unattended is None:
            raise BadInput(
                "gates.unattended is null; this study takes no unattended mandate, sign one with"
                " --key"
            )
        signer, kind, reviewer, caps = (
            Ed25519PrivateKey.generate(),
            "unattended",
            "unattended",
            config.gates.unattended,
        )
    else:
        if not terminal.at_terminal():
            raise NeedsHuman(
                "a mandate is signed by a person at a terminal; run this there, or use --unattended"
            )
        if not key:
            raise BadInput("--key is missing; name a reviewer's key (`heirloop keys list`)")
        caps = Caps(
            classes=tuple(classes.split(",")), jobs=jobs, cpu_seconds=cpu_seconds, hours=hours
        )
        signer = keys.open_key(key, click.prompt("passphrase", hide_input=True))
        kind = next(k["kind"] for k in keys.public_keys() if k["name"] == key)
        reviewer = key
    made = new_mandate(config, caps, kind, reviewer, keys.public_hex(signer), version)
    click.echo(json.dumps(plain(made), indent=2))
    if not unattended:
        terminal.confirmed(f"digest {digest(made)}", digest(made))
    envelope = keys.sign(plain(made), signer, "mandate")
    folder = keys.home() / "mandates"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{config.study.name}-{digest(envelope)[:16]}.json"
    path.write_bytes(envelope)
    click.echo(f"signed ({kind}): {path}")


def _decision(name: str, text: str) -> None:
    """Add one verb that signs a decision."""

    @cli.command(name, help=text)
    @click.argument("plan")
    @click.option(
        "--run",
        "folder",
        type=click.Path(path_type=Path),
        default=Path("runs/quickstart"),
        show_default=True,
    )
    @click.option("--key", required=True, help="Reviewer's key that signs.")
    @click.option(
        "--as",
        "change_class",
        default="",
        help="Class of the act, where it is not the plan's own, such as promote, deploy, unseal.",
    )
    @click.option("--reason", default="", help="Why; signed and recorded.")
    @click.option("--hours", default=24, show_default=True, help="Life of the decision.")
    @click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Write the signed decision to this file for `heirloop decide`, here or elsewhere.",
    )
    def verb(
        plan: str,
        folder: Path,
        key: str,
        change_class: str,
        reason: str,
        hours: int,
        out: Path | None,
    ) -> None:
        sign(name, plan, folder, key, change_class, reason, hours, out)


_decision("approve", "Print a plan in full and sign a yes to exactly these bytes.")
_decision("deny", "Print a plan in full and sign a no; the loop goes on without it.")
_decision(
    "escalate", "Print a plan in full and sign that an external reviewer must say yes besides."
)


def sign(
    answer: Any,
    plan: str,
    folder: Path,
    key: str,
    change_class: str,
    reason: str,
    hours: int,
    out: Path | None,
) -> None:
    from configs.build import need
    from loop.people.requests import hand_in, open_gate, subject_of
    from loop.people.shown import TooLarge, facts, rows
    from sandbox.decision import new_approval

    need(0 < hours <= 24 * 365, "--hours", hours, "a whole number from 1 to 8760")
    half = _signer(key, answer, reason)
    gate = open_gate(folder)
    subject = subject_of(gate, plan)
    what = change_class or subject.classes[0]
    need(what in subject.classes, "--as", what, f"one of {', '.join(subject.classes)}")
    try:
        shown = rows(facts(gate, subject, what))
    except TooLarge as error:
        if answer == "approve":
            raise
        shown = [("too large", str(error))]
    envelope = _asked(new_approval(gate.rules, subject, what, answer, reason, hours, half), shown)
    if out:
        _write_signed(out, envelope, folder)
    else:
        hand_in(gate, envelope)
        click.echo(f"signed and recorded ({half['kind']})")


def _signer(key: str, answer: Any, reason: str) -> dict[str, str]:
    """Return the public half of the key that will sign; only a person at a terminal signs, with a
    reason.
    """
    from configs.build import need
    from configs.errors import BadInput
    from sandbox import keys

    need(answer in ("approve", "deny", "escalate"), "--answer", answer, "approve, deny or escalate")
    need(bool(reason.strip()), "--reason", reason, "a sentence that says why")
    if not terminal.at_terminal():
        raise NeedsHuman(
            "a decision is signed by a person at a terminal; run this there, or hand in a signed"
            " file with `heirloop decide`"
        )
    half = next((k for k in keys.public_keys() if k["name"] == key), None)
    if half is None:
        raise BadInput(f"there is no key {key!r}; `heirloop keys list` shows those of this user")
    return half


def _asked(one: Any, shown: list[tuple[str, str]]) -> bytes:
    """Print a subject whole, ask for the beginning of its digest and the passphrase, and return the
    signed decision.
    """
    import time
    from dataclasses import replace

    from configs.build import plain
    from sandbox import keys

    seen = int(time.time())
    for label, text in shown:
        click.echo(f"{label}: {text}" if "\n" not in text else f"{label}:\n{text}")
    terminal.confirmed(f"{one.answer} {one.change_class} of {one.plan}", one.plan)
    one = replace(one, seen=seen, looked_ms=int((time.time() - seen) * 1000))
    return keys.sign(
        plain(one),
        keys.open_key(one.reviewer, click.prompt("passphrase", hide_input=True)),
        "approval",
    )


def _write_signed(out: Path, envelope: bytes, folder: Path) -> None:
    out.write_bytes(envelope)
    click.echo(f"signed: {out}; `heirloop decide {out} --run {folder}` hands it in")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("runs/quickstart"),
    show_default=True,
)
@click.option("--key", default="", help="For a request: reviewer's key that signs.")
@click.option("--answer", default="", help="For a request: approve, deny or escalate.")
@click.option("--reason", default="", help="For a request: why; recorded.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="For a request: where the signed decision goes."
)
def decide(file: Path, folder: Path, key: str, answer: str, reason: str, out: Path | None) -> None:
    """Hand in a decision or an acknowledgement that was signed elsewhere, or sign a request that
    came as a file, on a machine without network.
    """
    import secrets
    import time
    from dataclasses import replace

    from configs.errors import BadInput
    from loop.people.notice import is_acknowledgement, take
    from loop.people.requests import hand_in, open_gate, read_request
    from sandbox.decision import HOUR
    from sandbox.gate.admit import LONGEST_HOURS

    try:
        data = file.read_bytes()[:4_000_001]
    except OSError as error:
        raise BadInput(f"FILE is {str(file)!r}; it cannot be read ({error.strerror})") from None
    if is_acknowledgement(data):
        body = take(open_gate(folder), data)
        click.echo(
            f"acknowledged, {body['delay_seconds']:.0f} s after the delivery; it decides nothing"
        )
        return
    found = read_request(data)
    if found is None:
        hand_in(open_gate(folder), data.strip())
        click.echo("recorded")
        return
    draft, shown = found
    half, now = _signer(key, answer, reason), int(time.time())
    life = min(max(0, draft.expires - draft.issued), LONGEST_HOURS * HOUR)  # the file's word
    one = replace(
        draft,
        answer=answer,  # type: ignore[arg-type]
        reason=reason,
        issued=now,
        expires=now + life,
        nonce=secrets.token_hex(16),
        kind=half["kind"],
        reviewer=half["name"],
        public=half["public"],
    )
    _write_signed(out or file.with_suffix(".signed.json"), _asked(one, shown), folder)


@cli.command()
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
    from configs.errors import BadInput

    try:
        from loop.inbox.app import serve
    except ImportError as error:
        raise BadInput(
            f"the inbox needs {error.name}; `pip install -e '.[web]'` in the checkout brings it"
        ) from None
    serve(folder, host, port, names, certificate, certificate_key)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Go on until it is interrupted.")
@AS_JSON
def notify(folder: Path, watch: bool, as_json: bool) -> None:
    """Send what people should have been told by now, where no loop runs that does it."""
    import time

    from loop.people.requests import open_gate
    from loop.people.send import Caller

    caller, rows = Caller(open_gate(folder), folder), list[dict[str, Any]]()
    while (now := caller.deliver()) or watch:
        rows += now
        for row in now if watch else ():
            click.echo(f"{row['what']} to {row['to']}: {row['error'] or 'sent'}")
        time.sleep(0 if now else 2)
    head = ["what", "to", "scheme", "attempt", "ok", "error", "digest"]
    terminal.table(
        [[row[name] if as_json else terminal.yes(row[name]) for name in head] for row in rows],
        head,
        as_json,
    )


@cli.command()
@click.argument("digest")
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("runs/quickstart"),
    show_default=True,
)
@click.option("--study", default="", help="Study of the message, where the run is elsewhere.")
@click.option("--entry", default="", help="Entry of the message, where the run is elsewhere.")
@click.option("--key", required=True, help="Receiver's key that signs.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write it to this file for `heirloop decide`, here or elsewhere.",
)
def acknowledge(
    digest: str, folder: Path, study: str, entry: str, key: str, out: Path | None
) -> None:
    """Sign that the notice DIGEST arrived. It decides nothing."""
    from loop.people.notice import take
    from loop.people.requests import acknowledgement, open_gate
    from sandbox import keys

    if not terminal.at_terminal():
        raise NeedsHuman(
            "an acknowledgement is signed by a person at a terminal, who types the passphrase; run"
            " this there"
        )
    one = acknowledgement(None if study else open_gate(folder), digest, study, entry, key)
    envelope = keys.sign(
        one, keys.open_key(key, click.prompt("passphrase", hide_input=True)), "acknowledgement"
    )
    if out:
        out.write_bytes(envelope)
        click.echo(f"signed: {out}; `heirloop decide {out} --run RUN` hands it in")
        return
    click.echo(
        f"acknowledged, {take(open_gate(folder), envelope)['delay_seconds']:.0f} s after the"
        " delivery; it decides nothing"
    )


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs/quickstart"))
@AS_JSON
def pending(folder: Path, as_json: bool) -> None:
    """List what waits for a decision, with the proposer's claim."""
    from loop.people.requests import open_gate

    gate, rows = open_gate(folder), []
    for one in gate.pending():
        plan = gate.plans.get(one.subject) or gate.probes.get(one.subject)
        left = max(0, int(one.expires - gate.now()) // 60)
        claim = (
            [json.dumps(plan.changed), plan.predicted_gain, plan.hypothesis]
            if plan
            else ["", None, ""]
        )
        rows.append(
            [one.subject if as_json else one.subject[:12], one.arm, one.change_class, left, *claim]
        )
    terminal.table(
        rows,
        ["plan", "arm", "class", "minutes left", "change", "claimed gain", "claimed reason"],
        as_json,
    )
    if gate.rules.config.gates.canaries and not as_json:
        click.echo("some requests of this study are canaries: they test the gate and can never run")


@cli.group("keys")
def keys_group() -> None:
    """Reviewers' keys."""


@keys_group.command("new")
@click.argument("name")
@click.option("--kind", default="person", show_default=True, help="person, simulated or external.")
@click.option(
    "--person",
    default="",
    help="Who holds it, if not named as the key; all keys of one person count once.",
)
def keys_new(name: str, kind: str, person: str) -> None:
    """Make an encrypted key in your own folder."""
    from sandbox import keys

    if not terminal.at_terminal():
        raise NeedsHuman(
            "a key is made by a person at a terminal, who types its passphrase; run this there"
        )
    half = keys.new_key(
        name, kind, click.prompt("passphrase", hide_input=True, confirmation_prompt=True), person
    )
    click.echo(f"{half['name']} ({half['kind']}): {half['public']}")


@keys_group.command("invite")
@click.argument("name")
@click.option(
    "--kind", default="person", show_default=True, help="person, simulated, external or auditor."
)
@click.option("--person", default="", help="Who will hold it, if not named as the key.")
def keys_invite(name: str, kind: str, person: str) -> None:
    """Print a code with which one browser may make and enrol a key of this name, within a day."""
    from sandbox import keys

    if not terminal.at_terminal():
        raise NeedsHuman("an invitation is given by a person at a terminal; run this there")
    click.echo(keys.invite(name, kind, person))


@keys_group.command("add")
@click.argument("name")
@click.argument("public")
@click.option(
    "--kind", default="person", show_default=True, help="person, simulated, external or auditor."
)
@click.option("--person", default="", help="Who holds it, if not named as the key.")
def keys_add(name: str, public: str, kind: str, person: str) -> None:
    """Take the PUBLIC half (hex) of a key that somebody made elsewhere."""
    from sandbox import keys

    if not terminal.at_terminal():
        raise NeedsHuman("a key is taken by a person at a terminal; run this there")
    half = keys.add(name, kind, person or name, public)
    click.echo(f"{half['name']} ({half['kind']}): {half['public']}")


@keys_group.command("sign-in")
@click.argument("name")
@click.argument("nonce")
@click.option(
    "--origin",
    required=True,
    help="Address of the inbox, as the browser shows it: http://127.0.0.1:8321",
)
def keys_sign_in(name: str, nonce: str, origin: str) -> None:
    """Sign an inbox's challenge with a key of this folder, for a browser that cannot; prints what
    to paste there.
    """
    from sandbox import keys

    if not terminal.at_terminal():
        raise NeedsHuman("a challenge is signed by a person at a terminal; run this there")
    key = keys.open_key(name, click.prompt("passphrase", hide_input=True))
    click.echo(
        keys.sign(
            {"nonce": nonce, "origin": origin.rstrip("/"), "public": keys.public_hex(key)},
            key,
            "sign-in",
        ).decode()
    )


@keys_group.command("list")
@AS_JSON
def keys_list(as_json: bool) -> None:
    """List public halves."""
    from loop.people.send import Addresses
    from sandbox import keys

    dead, book = keys.revoked(), Addresses()
    rows = [
        [k["name"], k["kind"], k["person"], k["public"], book.shown(k["name"]), k["public"] in dead]
        for k in keys.public_keys()
    ]
    head = ["name", "kind", "person", "public", "called at", "revoked"]
    terminal.table(
        [[*row[:-1], row[-1] if as_json else terminal.yes(row[-1])] for row in rows], head, as_json
    )


@keys_group.command("address")
@click.argument("name")
@click.argument("url", default="")
@click.option("--remove", is_flag=True, help="Forget it.")
def keys_address(name: str, url: str, remove: bool) -> None:
    """Say where reviewer NAME is called: an apprise URL (mailto://, slack://, json:// ...). Without
    URL it is asked for and not echoed.
    """
    from loop.people.send import Addresses

    if not url and not remove:
        if not terminal.at_terminal():
            raise NeedsHuman("URL is missing; give it, or run this at a terminal and type it there")
        url = click.prompt("URL", hide_input=True)
    book = Addresses()
    book.set(name, "" if remove else url)
    click.echo(f"{name}: forgotten" if remove else f"{name}: {book.shown(name)}")


@keys_group.command("revoke")
@click.argument("name")
def keys_revoke(name: str) -> None:
    """Let what a key signed and was not used yet die."""
    from sandbox import keys

    click.echo(f"revoked: {name} ({keys.revoke(name)})")
