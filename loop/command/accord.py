"""Verbs on accords: two studies slow or stop together, and files show whether they did."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click

from configs.build import need
from configs.errors import NeedsHuman, VerificationFailed
from loop.accord import acts, check, drill, evidence, terms
from loop.accord.case import Case, Finding, gather
from loop.people.send import call_people
from loop.terminal import AS_JSON, FOLDER, WHY, print_error, print_pairs, print_table
from sandbox.files import replace_file
from sandbox.heads import open_ledger

FILE = click.Path(path_type=Path)
OWES = "stop, pause, slow:JOBS-AN-HOUR or nothing"


@click.group()
def accord() -> None:
    """Accords: two studies slow or stop together, with evidence from files (docs/accord.md)."""


@accord.command("propose")
@FOLDER
@click.option("--with", "other", type=FILE, required=True, help="Evidence of the other side.")
@click.option("--we", default="pause", show_default=True, help=f"What RUN owes: {OWES}.")
@click.option("--they", default="pause", show_default=True, help=f"What the other owes: {OWES}.")
@click.option("--since", required=True, help="UTC time, or +SECONDS from now.")
@click.option("--until", required=True, help="UTC time, or +SECONDS from now.")
@click.option("--heads", "heads_seconds", default=600, show_default=True)
@click.option("--clock", "clock_seconds", default=5, show_default=True)
@click.option("--to", type=FILE, default=Path("accord.json"), show_default=True)
@WHY
def propose(
    folder: Path,
    other: Path,
    we: str,
    they: str,
    since: str,
    until: str,
    heads_seconds: int,
    clock_seconds: int,
    to: Path,
    why: str,
) -> None:
    """Propose an accord with the side whose evidence is given, signed by RUN's key.

    HEADS is how often, in seconds, each side must hear a fresh signed head of the other; CLOCK how
    far the two clocks may disagree.
    """
    theirs = evidence.load(other)
    owed = [
        (study, *read_owed(name, text))
        for name, text, study in (
            ("--we", we, acts.show(folder).study),
            ("--they", they, theirs.study),
        )
        if text != "nothing"
    ]
    window = (_read_moment("--since", since), _read_moment("--until", until))
    signed = acts.propose(folder, theirs, owed, window, heads_seconds, clock_seconds, why)
    replace_file(to, signed.envelope)
    _print_terms(signed)
    click.echo(f"{to}: signed by one side; the other runs `heirloop accord sign RUN {to}`")


@accord.command("sign")
@FOLDER
@click.argument("file", type=FILE)
def sign(folder: Path, file: Path) -> None:
    """Sign the accord in FILE with RUN's key, or record that both sides signed it."""
    signed = acts.sign(folder, evidence.read_bytes(file, evidence.MOST_BYTES))
    replace_file(file, signed.envelope)
    _print_terms(signed)
    rest = "the first side runs it on this file too, so that its loop keeps it"
    click.echo(f"{file}: signed by {'both; ' + rest if signed.whole else 'one side'}")


@accord.command("status")
@FOLDER
@click.option("--accord", "prefix", default="", help="Start of its digest; else the newest.")
@click.option("--hear", type=FILE, multiple=True, help="Evidence of the other side; recorded.")
@click.option("--to", type=FILE, default=None, help="Write RUN's own evidence to this file.")
@AS_JSON
def status(
    folder: Path, prefix: str, hear: tuple[Path, ...], to: Path | None, as_json: bool
) -> None:
    """Tell RUN's accords; hear the other side; give evidence.

    Whoever hears or gives evidence writes a beat: RUN is there, and heard so far.
    """
    entries = open_ledger(folder).entries()
    known = acts.list_signed(entries)
    if not known:
        if to:
            replace_file(to, acts.introduce(folder))
            click.echo(f"{to}: RUN's newest signed head; the other side proposes with it")
        else:
            click.echo(
                "no accord; `heirloop accord status RUN --to FILE` writes what one begins with"
            )
        return
    signed, findings = acts.find_signed(folder, prefix), list[Finding]()
    heard = [evidence.load(path) for path in hear]
    if signed.whole and (hear or to):
        acts.beat(folder, signed, heard)
        own = acts.give_evidence(folder, signed)
        findings = acts.judge(folder, gather(signed, [*heard, evidence.read(own)]))
        if to:
            replace_file(to, own)
    _print_known(folder, known, as_json)
    _print_findings(folder, findings)


@accord.command("check")
@click.argument("file", type=FILE)
@click.argument("files", nargs=-1, type=FILE)
@click.option("--heads", type=FILE, multiple=True, help="Further signed heads, a line each.")
@click.option("--run", "folder", type=FILE, default=None, help="Own run: breaches open incidents.")
@AS_JSON
def check_files(
    file: Path, files: tuple[Path, ...], heads: tuple[Path, ...], folder: Path | None, as_json: bool
) -> None:
    """Check from files alone whether the accord in FILE was kept, by the evidence in FILES.

    Exit code 6 for a breach, 3 while the files do not reach far enough. Compare the printed keys
    with the parties' by other means.
    """
    signed = terms.read(evidence.read_bytes(file, evidence.MOST_BYTES))
    given = [evidence.load(path) for path in files]
    case = gather(signed, given, acts.read_further_heads(heads, signed))
    findings = acts.judge(folder, case) if folder else check.find_breaches(case)
    rows = check.describe(case, findings)
    _print_case(case, rows, findings, as_json)
    _print_findings(folder, findings)
    if any(row["files show"] != "silent" for row in rows):
        raise NeedsHuman("the files do not show every window whole; ask for newer evidence")


@accord.command("drill")
@FOLDER
@click.argument("other", type=FILE)
@click.option("--seconds", default=3, show_default=True, help="Length of the pause.")
@AS_JSON
def drill_both(folder: Path, other: Path, seconds: int, as_json: bool) -> None:
    """Pause two runs of this user together for practice, and measure it; both go on afterwards."""
    print_pairs(drill.drill(folder, other, seconds), ["what", "value"], as_json)


def read_owed(name: str, text: str) -> tuple[terms.What, int]:
    """Return what a party owes; raises BadInput."""
    what, _, number = text.partition(":")
    right = what in ("stop", "pause", "slow") and number.isdecimal() == (what == "slow")
    need(right and len(number) < 9 and text.count(":") < 2, name, text[:80], OWES)
    return cast(terms.What, what), int(number or 0)


def _read_moment(name: str, text: str) -> datetime:
    if text.startswith("+") and text[1:].isdecimal() and len(text) < 10:
        return datetime.now(UTC) + timedelta(seconds=int(text[1:]))
    return terms.read_time(name, text)


def _print_terms(signed: terms.Signed) -> None:
    one = signed.accord
    rows = [
        [
            party.name,
            ", ".join(
                f"{term.what}{f' {term.per_hour}' if term.per_hour else ''} from {term.since} to"
                f" {term.until}"
                for term in one.terms
                if term.study == party.study
            )
            or "nothing",
            party.study[:12],
            party.public,
            "yes" if party.study in signed.signed else "no",
        ]
        for party in one.parties
    ]
    print_table(rows, ["study", "owes", "root", "key", "signed"], False)
    click.echo(
        f"accord {signed.digest[:12]}: a head every {one.heads_seconds} s, clocks within"
        f" {one.clock_seconds} s"
    )


def _print_known(folder: Path, known: list[terms.Signed], as_json: bool) -> None:
    book = open_ledger(folder)
    now, rows = datetime.now(UTC), list[list[Any]]()
    for signed in known:
        for term in signed.accord.terms:
            party = signed.accord.party(term.study)
            first, last = term.window
            phase = "ahead" if now < first else "now" if now <= last else "over"
            owes = f"{term.what} {term.per_hour or ''}".strip()
            rows.append(
                [
                    signed.digest[:12],
                    "this run" if term.study == book.root() else party.name if party else "",
                    owes,
                    term.since,
                    term.until,
                    phase if signed.whole else "lacks a signature",
                ]
            )
    print_table(rows, ["accord", "study", "owes", "from", "to", "state"], as_json)


def _print_case(
    case: Case, rows: list[dict[str, Any]], findings: list[Finding], as_json: bool
) -> None:
    keys = {party.name: party.public for party in case.accord.parties}
    if as_json:
        told = [{"study": f.study, "rule": f.rule, "text": f.text} for f in findings]
        click.echo(
            json.dumps({"accord": case.digest, "keys": keys, "terms": rows, "breaches": told})
        )
        return
    print_table([list(row.values()) for row in rows], list(rows[0]), False)
    for name, public in keys.items():
        click.echo(f"key of {name}: {public}")
    click.echo("silent: nothing in the files speaks against it; work outside a ledger leaves none")


def _print_findings(folder: Path | None, findings: list[Finding]) -> None:
    for one in findings[1:]:
        print_error(f"{one.study[:12]}, {one.rule}: {one.text}")
    if findings:
        if folder:
            call_people(folder)
        one = findings[0]
        raise VerificationFailed(f"the accord is broken: {one.study[:12]}, {one.rule}: {one.text}")
