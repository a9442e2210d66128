"""`heirloop attest`: one signed page on a run for an outsider, or the check of such a page."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from configs.build import need
from configs.errors import BadInput, VerificationFailed
from loop.export import attest as pages
from loop.terminal import AS_JSON, print_table
from sandbox import intoto
from sandbox.files import replace_file
from sandbox.foreign import read_file

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=FILE)
@click.option("--to", type=FILE, default=None, help="File of the signed page.")
@click.option("--quick", is_flag=True, help="Do not verify the run first; the page says so.")
@click.option("--check", "public", default="", help="Check FOLDER, a page, by this key (hex).")
@click.option("--run", type=FILE, default=None, help="With --check: a copy of the run, too.")
@AS_JSON
def attest(
    folder: Path, to: Path | None, quick: bool, public: str, run: Path | None, as_json: bool
) -> None:
    """Write one signed page on a run for an outsider, with what was not examined; or check one
    from files.

    It holds compute by class, data by source, keys and decisions, stage and warning sign.
    """
    if public:
        told = pages.check(_read(folder), public, run)
    else:
        need(run is None, "--run", str(run), "left out without --check")
        statement = pages.attest(folder, not quick)
        envelope = intoto.sign(statement, pages.open_own_key(folder))
        told = statement["predicate"]
        if to:
            replace_file(to, envelope)
            click.echo(f"{to}: signed by {told['public']}", err=True)
    if as_json:
        click.echo(json.dumps(told))
        return
    try:
        rows = [[name, text] for name, text in list_rows(told)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise VerificationFailed(f"this is no page on a run: {type(error).__name__}") from None
    print_table(rows, ["about", "page"], False)


def _read(path: Path) -> bytes:
    try:
        return read_file(path, intoto.MOST_BYTES, follow=True)
    except OSError as error:
        raise BadInput(f"{str(path)[:200]!r} cannot be read ({error.strerror})") from None


def list_rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a page as rows for people."""
    head, machine = told["head"], told["machine"]
    rows = [
        ("study", f"{told['study']}, root {head['study']}"),
        ("head", f"entry {head['sequence']}, {head['head']}"),
        ("time", f"{told['from']} to {told['to']}" + ("" if told["ended"] else ", not ended")),
        ("box", f"{machine['box']}, tier {machine['tier']}, proved {machine['proved'] or 'never'}"),
    ]
    for name, amount in {"all": told["compute"]["total"], **told["compute"]["by_class"]}.items():
        text = f"{amount['cpu_us'] / 1e6:.1f} CPU-seconds, {amount['jobs']} jobs"
        rows.append((f"compute, {name}", f"{text}, {amount['tokens']} tokens"))
    rows += [
        (
            f"data, {one['source']}",
            f"{one['items']} from {one['from']} {one['digest'][:12]}".strip(),
        )
        for one in told["data"]
    ]
    rows += [
        (f"key of {one['name']}", f"{one['kind']}, held by {one['person']}, {one['public']}")
        for one in told["keys"]
    ]
    rows += [
        (f"mandate of {one['by']}", f"{one['kind']}, expires {_date(one['expires'])}")
        for one in told["mandates"]
    ]
    rows += [(f"decisions, {name}", str(count)) for name, count in told["decisions"].items()]
    rows.append(("stage reached", told["stage"]))
    rows += [
        ("warning sign" if name == "sign" else f"warning sign, {name}", text)
        for name, text in told["sign"].items()
    ]
    rows += [(f"incidents, {name}", str(count)) for name, count in told["incidents"].items()]
    for one in told["accords"]:
        rows.append(("accord", one["digest"]))
        rows += [("broken by", text) for text in one["broken"]]
    rows += [("not examined", text) for text in told["not examined"]]
    return rows


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
