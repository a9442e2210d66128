"""The command line. Each verb imports what it needs when it is called, so that `--help` answers at once.

Exit codes: 0 done, 2 bad input, 3 waiting for a human, 4 budget exhausted, 5 paused or stopped, 6 verification failed,
7 no usable box.
"""

import errno
import json
import sys
from pathlib import Path
from typing import Any

import click

from configs.errors import HeirloopError, NeedsHuman

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A sandboxed closed-loop improvement testbed."""


def main() -> None:
    """Run the command line; one sentence and an exit code for every error of ours."""
    try:
        cli(standalone_mode=False)
    except HeirloopError as error:
        click.echo(f"heirloop: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        from sandbox.ledger import FULL

        click.echo(f"heirloop: {FULL}", err=True)
        sys.exit(5)
    except click.Abort:
        sys.exit(5)


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.pass_context
def run(context: click.Context) -> None:
    """Run a study: heirloop run study=quickstart [group=choice] [field=value] [-m]."""
    from loop.main import entry

    entry(context.args)


@cli.group()
def mandate() -> None:
    """Standing approvals with caps."""


@mandate.command("grant", context_settings={"ignore_unknown_options": True})
@click.option("--unattended", is_flag=True, help="Without a person at a terminal, within the study's fixed caps.")
@click.option("--key", help="Reviewer's key that signs.")
@click.option("--classes", default="recipe,promote", show_default=True, help="Change classes, comma-separated.")
@click.option("--jobs", default=320, show_default=True)
@click.option("--cpu-seconds", default=900, show_default=True)
@click.option("--hours", default=24, show_default=True)
@click.argument("overrides", nargs=-1)
def grant(unattended: bool, key: str | None, classes: str, jobs: int, cpu_seconds: int, hours: int, overrides: tuple[str, ...]) -> None:
    """Print a standing approval in full and sign it, for the study that OVERRIDES compose."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from configs.build import plain
    from configs.errors import BadInput
    from configs.study import Caps
    from loop.main import composed
    from loop.people import open_gate
    from sandbox import keys
    from sandbox.canonical import digest
    from sandbox.gate import new_mandate

    config = composed(overrides)
    run = Path(config.runs) / config.study.name
    version = open_gate(run).rules.version if (run / "ledger.sqlite").exists() else 1
    if unattended:
        if config.gates.unattended is None:
            raise BadInput("gates.unattended is null; this study takes no unattended mandate, sign one with --key")
        signer, kind, reviewer, caps = Ed25519PrivateKey.generate(), "unattended", "unattended", config.gates.unattended
    else:
        if not _terminal():
            raise NeedsHuman("a mandate is signed by a person at a terminal; run this there, or use --unattended")
        if not key:
            raise BadInput("--key is missing; name a reviewer's key (`heirloop keys list`)")
        caps = Caps(classes=tuple(classes.split(",")), jobs=jobs, cpu_seconds=cpu_seconds, hours=hours)
        signer = keys.open_key(key, click.prompt("passphrase", hide_input=True))
        kind = next(k["kind"] for k in keys.public_keys() if k["name"] == key)
        reviewer = key
    made = new_mandate(config, caps, kind, reviewer, keys.public_hex(signer), version)
    click.echo(json.dumps(plain(made), indent=2))
    if not unattended:
        _confirmed(f"digest {digest(made)}", digest(made))
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
    @click.option("--run", "folder", type=click.Path(path_type=Path), default=Path("runs/quickstart"), show_default=True)
    @click.option("--key", required=True, help="Reviewer's key that signs.")
    @click.option("--as", "change_class", default="", help="Class of the act, where it is not the plan's own: promote or deploy.")
    @click.option("--reason", default="", help="Why; signed and recorded.")
    @click.option("--hours", default=24, show_default=True, help="Life of the decision.")
    @click.option("--out", type=click.Path(path_type=Path), help="Write the signed decision to this file for `heirloop decide`, here or elsewhere.")
    def verb(plan: str, folder: Path, key: str, change_class: str, reason: str, hours: int, out: Path | None) -> None:
        _sign(name, plan, folder, key, change_class, reason, hours, out)


_decision("approve", "Print a plan in full and sign a yes to exactly these bytes.")
_decision("deny", "Print a plan in full and sign a no; the loop goes on without it.")
_decision("escalate", "Print a plan in full and sign that an external reviewer must say yes besides.")


def _sign(answer: Any, plan: str, folder: Path, key: str, change_class: str, reason: str, hours: int, out: Path | None) -> None:
    from configs.build import need
    from loop.people import open_gate, subject_of
    from loop.shown import TooLarge, facts, rows
    from sandbox.gate import new_approval

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
        _hand_in(gate, envelope)
        click.echo(f"signed and recorded ({half['kind']})")


def _signer(key: str, answer: Any, reason: str) -> dict[str, str]:
    """Return the public half of the key that will sign; only a person at a terminal signs, with a reason."""
    from configs.build import need
    from configs.errors import BadInput
    from sandbox import keys

    need(answer in ("approve", "deny", "escalate"), "--answer", answer, "approve, deny or escalate")
    need(bool(reason.strip()), "--reason", reason, "a sentence that says why")
    if not _terminal():
        raise NeedsHuman("a decision is signed by a person at a terminal; run this there, or hand in a signed file with `heirloop decide`")
    half = next((k for k in keys.public_keys() if k["name"] == key), None)
    if half is None:
        raise BadInput(f"there is no key {key!r}; `heirloop keys list` shows those of this user")
    return half


def _asked(one: Any, shown: list[tuple[str, str]]) -> bytes:
    """Print a subject whole, ask for the beginning of its digest and the passphrase, and return the signed decision."""
    import time
    from dataclasses import replace

    from configs.build import plain
    from sandbox import keys

    seen = int(time.time())
    for label, text in shown:
        click.echo(f"{label}: {text}" if "\n" not in text else f"{label}:\n{text}")
    _confirmed(f"{one.answer} {one.change_class} of {one.plan}", one.plan)
    one = replace(one, seen=seen, looked_ms=int((time.time() - seen) * 1000))
    return keys.sign(plain(one), keys.open_key(one.reviewer, click.prompt("passphrase", hide_input=True)), "approval")


def _write_signed(out: Path, envelope: bytes, folder: Path) -> None:
    out.write_bytes(envelope)
    click.echo(f"signed: {out}; `heirloop decide {out} --run {folder}` hands it in")


def _terminal() -> bool:
    """Tell whether a person can type here; a pipe, a file and the end of input cannot."""
    return sys.stdin.isatty()


def _confirmed(what: str, name: str) -> None:
    """Raise NeedsHuman unless the first six characters of a digest are typed; nothing stands in for them."""
    if click.prompt(f"{what}\ntype its first six characters to sign") != name[:6]:
        raise NeedsHuman("the characters do not match; nothing was signed")


def _hand_in(gate: Any, envelope: bytes) -> None:
    from configs.errors import VerificationFailed

    refused = gate.admit(envelope, "approval")
    if refused:
        raise VerificationFailed(refused)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--run", "folder", type=click.Path(path_type=Path), default=Path("runs/quickstart"), show_default=True)
@click.option("--key", default="", help="For a request: reviewer's key that signs.")
@click.option("--answer", default="", help="For a request: approve, deny or escalate.")
@click.option("--reason", default="", help="For a request: why; recorded.")
@click.option("--out", type=click.Path(path_type=Path), help="For a request: where the signed decision goes.")
def decide(file: Path, folder: Path, key: str, answer: str, reason: str, out: Path | None) -> None:
    """Hand in a decision or an acknowledgement that was signed elsewhere, or sign a request that came as a file, on a machine without network."""
    import secrets
    import time
    from dataclasses import replace

    from configs.errors import BadInput
    from loop.people import open_gate, read_request
    from sandbox.notice import is_acknowledgement, take

    try:
        data = file.read_bytes()[:4_000_001]
    except OSError as error:
        raise BadInput(f"FILE is {str(file)!r}; it cannot be read ({error.strerror})") from None
    if is_acknowledgement(data):
        body = take(open_gate(folder), data)
        click.echo(f"acknowledged, {body['delay_seconds']:.0f} s after the delivery; it decides nothing")
        return
    found = read_request(data)
    if found is None:
        _hand_in(open_gate(folder), data)
        click.echo("recorded")
        return
    draft, shown = found
    half, now = _signer(key, answer, reason), int(time.time())
    one = replace(draft, answer=answer, reason=reason, issued=now, expires=now + draft.expires - draft.issued, nonce=secrets.token_hex(16),  # type: ignore[arg-type]
                  kind=half["kind"], reviewer=half["name"], public=half["public"])  # fmt: skip
    _write_signed(out or file.with_suffix(".signed.json"), _asked(one, shown), folder)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; off loopback TLS is required.")
@click.option("--port", default=8321, show_default=True)
@click.option("--name", "names", multiple=True, help="A further host name that the inbox answers to.")
@click.option("--certificate", type=click.Path(path_type=Path), help="TLS certificate chain, PEM.")
@click.option("--certificate-key", type=click.Path(path_type=Path), help="TLS private key, PEM.")
def inbox(folder: Path, host: str, port: int, names: tuple[str, ...], certificate: Path | None, certificate_key: Path | None) -> None:
    """Serve the web inbox of a run, or of a folder of runs: read, decide, watch, stop."""
    from configs.errors import BadInput

    try:
        from loop.inbox.app import serve
    except ImportError as error:
        raise BadInput(f"the inbox needs {error.name}; `pip install 'heirloop[web]'` brings it") from None
    serve(folder, host, port, names, certificate, certificate_key)


def _tell(folder: Path) -> None:
    """Call people about what a command has just done, for a moment; the loop or `heirloop notify` tries again what fails."""
    from contextlib import suppress

    from configs.errors import HeirloopError
    from loop.people import open_gate
    from sandbox.send import CLOSE_SECONDS, Caller

    with suppress(HeirloopError, OSError):
        Caller(open_gate(folder), folder).deliver(seconds=CLOSE_SECONDS)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--watch", is_flag=True, help="Go on until it is interrupted.")
@AS_JSON
def notify(folder: Path, watch: bool, as_json: bool) -> None:
    """Send what people should have been told by now, where no loop runs that does it."""
    import time

    from loop.people import open_gate
    from sandbox.send import Caller

    caller, rows = Caller(open_gate(folder), folder), list[dict[str, Any]]()
    while (now := caller.deliver()) or watch:
        rows += now
        for row in now if watch else ():
            click.echo(f"{row['what']} to {row['to']}: {row['error'] or 'sent'}")
        time.sleep(0 if now else 2)
    head = ["what", "to", "scheme", "attempt", "ok", "error", "digest"]
    _print([[row[name] if as_json else _yes(row[name]) for name in head] for row in rows], head, as_json)


@cli.command()
@click.argument("digest")
@click.option("--run", "folder", type=click.Path(path_type=Path), default=Path("runs/quickstart"), show_default=True)
@click.option("--study", default="", help="Study of the message, where the run is elsewhere.")
@click.option("--entry", default="", help="Entry of the message, where the run is elsewhere.")
@click.option("--key", required=True, help="Receiver's key that signs.")
@click.option("--out", type=click.Path(path_type=Path), help="Write it to this file for `heirloop decide`, here or elsewhere.")
def acknowledge(digest: str, folder: Path, study: str, entry: str, key: str, out: Path | None) -> None:
    """Sign that the notice DIGEST arrived. It decides nothing."""
    from loop.people import acknowledgement, open_gate
    from sandbox import keys
    from sandbox.notice import take

    if not _terminal():
        raise NeedsHuman("an acknowledgement is signed by a person at a terminal, who types the passphrase; run this there")
    one = acknowledgement(None if study else open_gate(folder), digest, study, entry, key)
    envelope = keys.sign(one, keys.open_key(key, click.prompt("passphrase", hide_input=True)), "acknowledgement")
    if out:
        out.write_bytes(envelope)
        click.echo(f"signed: {out}; `heirloop decide {out} --run RUN` hands it in")
        return
    click.echo(f"acknowledged, {take(open_gate(folder), envelope)['delay_seconds']:.0f} s after the delivery; it decides nothing")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs/quickstart"))
@AS_JSON
def pending(folder: Path, as_json: bool) -> None:
    """List what waits for a decision, with the proposer's claim."""
    from loop.people import open_gate, plan_of

    gate, rows = open_gate(folder), []
    for one in gate.pending():
        plan = plan_of(gate, one.subject)
        left = max(0, int(one.expires - gate.now()) // 60)
        claim = [json.dumps(plan.changed), plan.predicted_gain, plan.hypothesis] if plan else ["", None, ""]
        rows.append([one.subject if as_json else one.subject[:12], one.arm, one.change_class, left, *claim])
    _print(rows, ["plan", "arm", "class", "minutes left", "change", "claimed gain", "claimed reason"], as_json)


def _who() -> str:
    import getpass

    return f"user {getpass.getuser()}"


FOLDER = click.argument("folder", type=click.Path(path_type=Path))
WHY = click.option("--why", default="", help="Why; recorded.")


@cli.command()
@FOLDER
@WHY
@AS_JSON
def stop(folder: Path, why: str, as_json: bool) -> None:
    """Kill every job of a run and let nothing start, even if its loop hangs or is dead."""
    from sandbox.control import stop as act

    _print([[k, v] for k, v in act(folder, _who(), why).items()], ["what", "value"], as_json)
    _tell(folder)


@cli.command()
@FOLDER
@WHY
def pause(folder: Path, why: str) -> None:
    """Let jobs end and start none."""
    from loop.people import open_gate
    from sandbox.control import order

    order(open_gate(folder).ledger, "pause", _who(), why)
    click.echo("paused: running jobs end, none starts")
    _tell(folder)


@cli.command()
@FOLDER
@click.argument("per_hour", type=int)
@WHY
def slow(folder: Path, per_hour: int, why: str) -> None:
    """Start at most PER_HOUR jobs in any hour."""
    from loop.people import open_gate
    from sandbox.control import order

    order(open_gate(folder).ledger, "slow", _who(), why, per_hour)
    click.echo(f"slowed: {per_hour} jobs an hour")


@cli.command()
@FOLDER
def resume(folder: Path) -> None:
    """Let a stopped, paused or slowed run go on, if the reviewers that the study names said so."""
    from loop.people import resume as act

    found = act(folder, _who())
    click.echo("resumed" + (f" by {len(found['decisions'])} signed decisions" if found["decisions"] else ", unsigned: the study names no reviewer"))


@cli.command()
@FOLDER
@AS_JSON
def drill(folder: Path, as_json: bool) -> None:
    """Stop a running study for practice, measure how long its jobs lived on, and let it go on."""
    from sandbox.control import drill as act

    _print([[k, v] for k, v in act(folder, _who()).items()], ["what", "value"], as_json)


@cli.command()
@FOLDER
def deploy(folder: Path) -> None:
    """Copy the champion's weights and card to RUN/deployed, once people decided on it (class deploy)."""
    from loop.people import deploy as act

    found = act(folder)
    click.echo(f"deployed {found['plan'][:12]} ({found['kind']}): {found['folder']}")


@cli.command()
@FOLDER
@AS_JSON
def unseal(folder: Path, as_json: bool) -> None:
    """Open the sealed split for the champion against the baseline, once a reviewer signed it (class unseal); every opening counts."""
    from loop.unseal import unseal as act

    _print([[k, v] for k, v in act(folder).items()], ["what", "value"], as_json)


@cli.command()
@FOLDER
def rollback(folder: Path) -> None:
    """Deploy what was deployed before; it takes a decision of its own."""
    from loop.people import rollback as act

    found = act(folder)
    click.echo(f"rolled back to {found['plan'][:12]} ({found['kind']}): {found['folder']}")


@cli.command()
@FOLDER
@click.argument("plan")
@click.option("--why", required=True, help="Why; recorded.")
def recall(folder: Path, plan: str, why: str) -> None:
    """Quarantine a successor and its descendants: neither parent nor champion any more."""
    from loop.people import recall as act

    click.echo(f"quarantined: {', '.join(name[:12] for name in act(folder, plan, _who(), why))}")


@cli.command()
@FOLDER
@click.argument("changes", nargs=-1)
@click.option("--why", default="", help="Why; recorded.")
@click.option("--reviewers", "repin", is_flag=True, help="Pin this user's keys as they are now.")
@click.option("--apply", "apply", default="", help="Open the version that people decided on; the digest's beginning.")
def amend(folder: Path, changes: tuple[str, ...], why: str, repin: bool, apply: str) -> None:
    """Propose another objective, budget, gates or reviewers (FIELD=VALUE ...), or apply what people decided."""
    from loop.people import amend as propose
    from loop.people import apply_amendment

    if apply:
        click.echo(f"the study root is at version {apply_amendment(folder, apply)}; older grants and mandates are dead")
        return
    name = propose(folder, changes, _who(), why, repin)
    click.echo(f"proposed {name[:12]}; `heirloop approve {name[:12]} --run {folder} --key NAME`, then `heirloop amend {folder} --apply {name[:12]}`")


@cli.command()
@click.argument("folders", type=click.Path(path_type=Path), nargs=-1)
@click.option("--since", default="", help="UTC time, such as 2026-01-31T00:00.")
@click.option("--until", default="", help="UTC time.")
@click.option("--check", "file", type=click.Path(path_type=Path), help="Check a statement instead, with nothing but --public.")
@click.option("--public", default="", help="Public key that must have signed it, hex; the study root has it as checkpoint_key.")
def compute(folders: tuple[Path, ...], since: str, until: str, file: Path | None, public: str) -> None:
    """Print the signed compute statement of runs (total, peaks, per class and account) and record it, or check one."""
    from configs.errors import BadInput
    from loop.compute import check, publish

    if file:
        try:
            envelope = file.read_bytes()
        except OSError as error:
            raise BadInput(f"--check is {str(file)!r}; it cannot be read ({error.strerror})") from None
        click.echo(json.dumps(check(envelope.strip(), public), indent=2))
        return
    if not folders:
        raise BadInput("FOLDERS is empty; name runs, or --check FILE --public HEX")
    click.echo(publish(folders, since, until).decode())
    for folder in folders:
        _tell(folder)


@cli.group("incident")
def incident_group() -> None:
    """What was violated, nearly was, or could be."""


@incident_group.command("list")
@FOLDER
@AS_JSON
def incident_list(folder: Path, as_json: bool) -> None:
    """List a run's incidents."""
    rows = [[i.id, i.kind, i.severity, i.detected_at, i.detector, i.title, i.notification_due_at] for i in _incidents(folder).values()]
    _print(rows, ["id", "kind", "severity", "detected", "detector", "title", "notice due"], as_json)


@incident_group.command("show")
@FOLDER
@click.argument("name")
@AS_JSON
def incident_show(folder: Path, name: str, as_json: bool) -> None:
    """Show one incident in full, as last amended."""
    from configs.build import plain

    _print([[k, json.dumps(v)] for k, v in plain(_incident(folder, name)).items()], ["field", "value"], as_json)


@incident_group.command("amend")
@FOLDER
@click.argument("name")
@click.argument("changes", nargs=-1, required=True)
def incident_amend(folder: Path, name: str, changes: tuple[str, ...]) -> None:
    """Add to an incident: FIELD=VALUE ...; what was written before stays."""
    from configs.errors import BadInput
    from sandbox.incident import amend
    from sandbox.ledger import Ledger

    if bad := next((c for c in changes if "=" not in c), ""):
        raise BadInput(f"CHANGES holds {bad!r}; it should be field=value")
    told: dict[str, Any] = dict(c.split("=", 1) for c in changes)
    if "internal_use" in told:
        told["internal_use"] = told["internal_use"] == "true"
    one = amend(Ledger.file(folder / "ledger.sqlite"), name, told, _who())
    click.echo(f"{one.id}: amended" + (f"; notice is due {one.notification_due_at}" if one.notification_due_at else ""))
    _tell(folder)


@incident_group.command("export")
@FOLDER
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), default=Path("."), show_default=True, help="Folder for NAME.json and NAME.html.")
def incident_export(folder: Path, name: str, out: Path) -> None:
    """Write one incident as JSON and as a page."""
    from loop.people import export_incident

    data, page = export_incident(folder, name)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_bytes(data)
    (out / f"{name}.html").write_text(page)
    click.echo(f"{out / name}.json, {out / name}.html")


@incident_group.command("report")
@FOLDER
@click.argument("title")
@click.option("--kind", default="hazard", show_default=True)
@click.option("--severity", default="low", show_default=True)
def incident_report(folder: Path, title: str, kind: str, severity: str) -> None:
    """Open an incident by hand."""
    from sandbox.incident import report as act
    from sandbox.ledger import Ledger

    with Ledger.file(folder / "ledger.sqlite").transaction() as txn:
        entry = act(txn, title, kind=kind, severity=severity, detector="a person", reporter=_who())
    click.echo(entry.body["id"])
    _tell(folder)


def _incidents(folder: Path) -> Any:
    from sandbox.incident import latest
    from sandbox.ledger import Ledger

    return {name: one for name, (one, _) in latest(Ledger.file(folder / "ledger.sqlite").entries()).items()}


def _incident(folder: Path, name: str) -> Any:
    from configs.errors import BadInput

    known = _incidents(folder)
    if name not in known:
        raise BadInput(f"NAME is {name!r}; this run has {', '.join(known) or 'no incidents'}")
    return known[name]


@cli.group("keys")
def keys_group() -> None:
    """Reviewers' keys."""


@keys_group.command("new")
@click.argument("name")
@click.option("--kind", default="person", show_default=True, help="person, simulated or external.")
@click.option("--person", default="", help="Who holds it, if not named as the key; all keys of one person count once.")
def keys_new(name: str, kind: str, person: str) -> None:
    """Make an encrypted key in your own folder."""
    from sandbox import keys

    if not _terminal():
        raise NeedsHuman("a key is made by a person at a terminal, who types its passphrase; run this there")
    half = keys.new_key(name, kind, click.prompt("passphrase", hide_input=True, confirmation_prompt=True), person)
    click.echo(f"{half['name']} ({half['kind']}): {half['public']}")


@keys_group.command("invite")
@click.argument("name")
@click.option("--kind", default="person", show_default=True, help="person, simulated, external or auditor.")
@click.option("--person", default="", help="Who will hold it, if not named as the key.")
def keys_invite(name: str, kind: str, person: str) -> None:
    """Print a code with which one browser may make and enrol a key of this name, within a day."""
    from sandbox import keys

    if not _terminal():
        raise NeedsHuman("an invitation is given by a person at a terminal; run this there")
    click.echo(keys.invite(name, kind, person))


@keys_group.command("add")
@click.argument("name")
@click.argument("public")
@click.option("--kind", default="person", show_default=True, help="person, simulated, external or auditor.")
@click.option("--person", default="", help="Who holds it, if not named as the key.")
def keys_add(name: str, public: str, kind: str, person: str) -> None:
    """Take the PUBLIC half (hex) of a key that somebody made elsewhere."""
    from sandbox import keys

    if not _terminal():
        raise NeedsHuman("a key is taken by a person at a terminal; run this there")
    half = keys.add(name, kind, person or name, public)
    click.echo(f"{half['name']} ({half['kind']}): {half['public']}")


@keys_group.command("sign-in")
@click.argument("name")
@click.argument("nonce")
@click.option("--origin", required=True, help="Address of the inbox, as the browser shows it: http://127.0.0.1:8321")
def keys_sign_in(name: str, nonce: str, origin: str) -> None:
    """Sign an inbox's challenge with a key of this folder, for a browser that cannot; prints what to paste there."""
    from sandbox import keys

    if not _terminal():
        raise NeedsHuman("a challenge is signed by a person at a terminal; run this there")
    key = keys.open_key(name, click.prompt("passphrase", hide_input=True))
    click.echo(keys.sign({"nonce": nonce, "origin": origin.rstrip("/"), "public": keys.public_hex(key)}, key, "sign-in").decode())


@keys_group.command("list")
@AS_JSON
def keys_list(as_json: bool) -> None:
    """List public halves."""
    from sandbox import keys
    from sandbox.send import Addresses

    dead, book = keys.revoked(), Addresses()
    rows = [[k["name"], k["kind"], k["person"], k["public"], book.shown(k["name"]), k["public"] in dead] for k in keys.public_keys()]
    head = ["name", "kind", "person", "public", "called at", "revoked"]
    _print([[*row[:-1], row[-1] if as_json else _yes(row[-1])] for row in rows], head, as_json)


@keys_group.command("address")
@click.argument("name")
@click.argument("url", default="")
@click.option("--remove", is_flag=True, help="Forget it.")
def keys_address(name: str, url: str, remove: bool) -> None:
    """Say where reviewer NAME is called: an apprise URL (mailto://, slack://, json:// ...). Without URL it is asked for and not echoed."""
    from sandbox.send import Addresses

    if not url and not remove:
        if not _terminal():
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


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@AS_JSON
def status(folder: Path, as_json: bool) -> None:
    """Show where a run stands."""
    s = _summary(folder)
    root, proof = s["accounts"]["root"], f"proved {s['proved']}" if s["proved"] else "heirloop doctor was not run before it"
    rows = [["finished", s["finished"]], ["tier", f"{s['tier']}, {proof}"], ["entries", s["entries"]],
            ["plans", sum(len(g["plans"]) for g in s["generations"])],
            ["CPU-seconds", f"{root['cpu_us']['spent'] / 1e6:.1f} of {root['cpu_us']['limit'] / 1e6:.0f}"],
            ["champion", s["champion"]["plan"][:12]], ["decided by", ", ".join(s["decided_by"])]]  # fmt: skip
    _print(rows, ["what", "value"], as_json)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@AS_JSON
def plans(folder: Path, as_json: bool) -> None:
    """List the plans of a run."""
    rows = [[p["id"][:12], g["arm"], g["index"], p["change"]["class"], p["verdict"], p["shown"],
             p["computable"] if as_json else "computable" * p["computable"]]
            for g in _summary(folder)["generations"] for p in g["plans"]]  # fmt: skip
    _print(rows, ["plan", "arm", "generation", "class", "verdict", "feedback", "computable" if as_json else "flag"], as_json)


@cli.command()
@click.argument("plan")
@click.option("--run", "folder", type=click.Path(path_type=Path), default=Path("runs/quickstart"), show_default=True)
@AS_JSON
def show(plan: str, folder: Path, as_json: bool) -> None:
    """Show one plan in full, with the distance of its first weights to every other that is stored."""
    from configs.build import plain
    from loop.archive import Archive
    from loop.measure import distances
    from loop.people import open_gate
    from sandbox.ledger import Ledger
    from sandbox.store import Store

    ledger = Ledger.file(folder / "ledger.sqlite")
    facts = Archive(ledger).facts()
    name = _one(facts.plans, plan)
    whole = {"digest": name, **plain(facts.plans[name])}
    verdict = facts.verdicts.get(name)
    whole["verdict"] = verdict.answer if verdict else None
    whole["criteria"] = [[c.name, c.passed] for c in verdict.criteria] if verdict else []
    whole["computable"] = open_gate(folder).computable(facts.plans[name])
    whole["distances"] = distances(ledger, Store(folder / "store"), facts, name)
    whole["failures"] = list(facts.failures.get(name, []))
    _print([[k, json.dumps(v)] for k, v in whole.items()], ["field", "value"], as_json)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--heads", type=click.Path(path_type=Path), help="A copy of the signed heads that somebody kept elsewhere, an auditor for instance.")
@click.option("--read-only", is_flag=True, help="Record nothing in the run where it fails, as for somebody else's copy.")
@AS_JSON
def verify(folder: Path, heads: Path | None, read_only: bool, as_json: bool) -> None:
    """Recompute a run from its bytes; a failure is an incident of it, where its record still holds."""
    from loop.verify import checked
    from loop.verify import verify as check

    _print([[k, v] for k, v in (check if read_only else checked)(folder, heads).items()], ["checked", "count"], as_json)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write report.html and summary.json again from the ledger."""
    from loop.archive import Archive
    from loop.report import write
    from loop.summary import summary
    from sandbox.canonical import canonical
    from sandbox.ledger import Ledger

    ledger = Ledger.file(folder / "ledger.sqlite")
    facts = Archive(ledger).facts()
    (folder / "summary.json").write_bytes(canonical(summary(ledger, facts)))
    write(ledger, facts, folder / "report.html")
    click.echo(str(folder / "report.html"))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("plan")
@AS_JSON
def replay(folder: Path, plan: str, as_json: bool) -> None:
    """Retrain a plan's first replicate from its bundle and compare bytes."""
    from loop.main import replay as again

    _print([[k, v] for k, v in again(folder, plan).items()], ["what", "value"], as_json)


@cli.group()
def image() -> None:
    """The image of the Docker box."""


@image.command("build")
@click.option("--offline", is_flag=True, help="From debootstrap and wheels, without an image registry.")
@click.option("--index", default="", help="A further package index, for a CPU or CUDA torch.")
@click.option("--gpu", default="", help="A torch build for a GPU, such as cu126; needs an index that has it.")
@click.option("--name", default="heirloop-box", show_default=True)
def image_build(offline: bool, index: str, gpu: str, name: str) -> None:
    """Build the image that box=docker runs."""
    from loop.plan import ROOT
    from sandbox.box.image import build

    click.echo(f"{name}: {build(name, ROOT, offline=offline, index=index, gpu=gpu)}")


@cli.command()
@click.option("--box", "kind", type=click.Choice(["namespace", "docker"]), default="namespace", show_default=True)
@click.option("--mode", type=click.Choice(["cold", "warm"]), default="warm", show_default=True)
@click.option("--only", default="", help="One row of the catalogue with its relatives, such as S06.")
@AS_JSON
def attack(kind: str, mode: str, only: str, as_json: bool) -> None:
    """Try the attack catalogue against a box on this machine; exit 6 if anything got through."""
    from configs.errors import VerificationFailed
    from loop.attack import attack as act
    from loop.plan import ROOT
    from sandbox.box.docker import DockerBox
    from sandbox.box.namespace import NamespaceBox

    warm, shown = mode == "warm", sys.stderr.isatty()
    rows = act(lambda: NamespaceBox(ROOT / ".box", warm=warm) if kind == "namespace" else DockerBox("heirloop-box", warm=warm), mode, only,
               lambda row: click.echo(f"\r{row['id']:5}", err=True, nl=False) if shown else None)  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows))
    else:
        head = ["id", "what", "stopped", "by", "seconds", "overuse", "said"]
        _print([[_yes(row[name]) for name in head] for row in rows], head, False)
    through = [row["id"] for row in rows if not row["stopped"]]
    if through:
        raise VerificationFailed(f"not stopped as expected in the {kind} box, {mode}: {', '.join(through)}")


@cli.command()
@click.option("--box", "kind", type=click.Choice(["namespace", "docker"]), default=None, help="One box; both if left out.")
@click.option("--runtime", default="", help="Runtime of the Docker box, such as runsc.")
@AS_JSON
def doctor(kind: str | None, runtime: str, as_json: bool) -> None:
    """Try every promise of each box on this machine, and tell the tier; exit 6 if a promise fails, 7 if no box works."""
    from collections.abc import Callable

    from configs.errors import NoBox, VerificationFailed
    from loop.doctor import doctor as examine
    from loop.plan import ROOT
    from loop.study import remember
    from sandbox.box.base import Box
    from sandbox.box.docker import DockerBox
    from sandbox.box.namespace import NamespaceBox

    makes: dict[str, Callable[[], Box]] = {
        "namespace": lambda: NamespaceBox(ROOT / ".box"), "docker": lambda: DockerBox("heirloop-box", runtime=runtime, warm=True),
    }  # fmt: skip
    rows, tiers = examine({name: make for name, make in makes.items() if kind in (None, name)}, ROOT)
    remember(tiers)
    best = min(tiers.values(), default="")
    if as_json:
        click.echo(json.dumps({"rows": rows, "tiers": tiers, "tier": best}))
    else:
        head = ["box", "probe", "promised", "proved", "figure"]
        _print([[_yes(row[name]) for name in head] for row in rows], head, False)
        click.echo(f"tier: {best or 'none'}" + "".join(f"; {name} {tier}" for name, tier in tiers.items()))
    failed = [f"{row['box']} {row['probe']}" for row in rows if not row["proved"] and row["probe"] != "start"]
    if failed:
        raise VerificationFailed(f"promises that do not hold here: {', '.join(failed)}")
    if not tiers:
        raise NoBox("no box works here; the table says why and names the remedy")


@cli.command()
@click.argument("task", default="addition")
@click.option("--null", type=click.Choice(["real", "simulated"]), default="simulated", show_default=True,
              help="real: candidates that differ from the champion in seed alone, trained here; simulated: campaigns drawn from those scores.")
@click.option("--unattended", is_flag=True, help="Sign the unattended mandate that the trainings need.")
@AS_JSON
def calibrate(task: str, null: str, unattended: bool, as_json: bool) -> None:
    """Measure how often each acceptance rule keeps noise; goes on where it was interrupted."""
    from loop.calibrate import calibrate as act

    shown = sys.stderr.isatty()
    found = act(task, null, unattended=unattended, say=lambda text: click.echo(f"\r{text:40}", err=True, nl=False) if shown else None)
    if as_json:
        click.echo(json.dumps(found))
        return
    head = ["null", "campaigns", "false_keep_rate", "upper", "fake_gain", "power", "replicates"]
    rows = [[name, *(_short(row[key]) for key in head)] for name, one in found["rules"].items() for row in (one, *one.get("others", {}).values())]
    _print(rows, ["rule", *(name.replace("_", " ") for name in head)], False)
    click.echo(f"alpha {found['alpha']:g}; noise of " + ", ".join(f"{k} (n {n}, deviation {sd:g})" for k, (n, sd) in found["noise"].items()))


@cli.command()
@click.option("--gain", required=True, type=float, help="True gain to see, in units of the metric.")
@click.option("--target", type=float, default=None, help="Probability of seeing it; default: objective.power.")
@click.option("--deviation", type=float, help="Seed deviation of one run; default: the task's.")
@click.argument("overrides", nargs=-1)
@AS_JSON
def power(gain: float, target: float | None, deviation: float | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Tell how many replicates, CPU-seconds and campaigns a question needs, in the study that OVERRIDES compose."""
    from loop.calibrate import power as act

    rows = act(overrides, gain=gain, target=target, deviation=deviation)
    _print([list(row.values()) if as_json else [_short(v) for v in row.values()] for row in rows], list(rows[0]), as_json)


def _short(value: Any) -> Any:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else value


def _facts(folder: Path) -> Any:
    from loop.archive import Archive
    from sandbox.ledger import Ledger

    return Archive(Ledger.file(folder / "ledger.sqlite")).facts()


def _summary(folder: Path) -> dict[str, Any]:
    from loop.archive import Archive
    from loop.summary import summary
    from sandbox.ledger import Ledger

    ledger = Ledger.file(folder / "ledger.sqlite")
    return summary(ledger, Archive(ledger).facts())


def _one(known: Any, prefix: str) -> str:
    from configs.errors import BadInput

    found: list[str] = [name for name in known if name.startswith(prefix)]
    if len(found) != 1:
        raise BadInput(f"PLAN is {prefix!r}; it should begin exactly one plan's digest, {len(found)} match (`heirloop plans RUN`)")
    return found[0]


def _yes(value: Any) -> Any:
    return {True: "yes", False: "NO"}[value] if isinstance(value, bool) else value


def _print(rows: list[list[Any]], head: list[str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in rows]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from loop.text import visible

    table = Table()
    for name in head:
        table.add_column(name, overflow="fold")  # nothing is cut
    for row in rows:
        table.add_row(*(Text(visible(str(v))) for v in row))
    Console().print(table)
