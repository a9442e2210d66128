"""What the verbs of the command line share: the group, a table in which nothing is cut, questions
that only a person at a terminal can answer.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from configs.errors import NeedsHuman

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


FOLDER = click.argument("folder", type=click.Path(path_type=Path))


WHY = click.option("--why", default="", help="Why; recorded.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A sandboxed closed-loop improvement testbed."""


def at_terminal() -> bool:
    """Tell whether a person can type here; a pipe, a file and the end of input cannot."""
    return sys.stdin.isatty()


def confirmed(what: str, name: str) -> None:
    """Raise NeedsHuman unless the first six characters of a digest are typed; nothing stands in for
    them.
    """
    if click.prompt(f"{what}\ntype its first six characters to sign") != name[:6]:
        raise NeedsHuman("the characters do not match; nothing was signed")


def who() -> str:
    """Return the name that an order from this terminal is recorded under."""
    import os
    import pwd

    try:  # the system's word, not the environment's
        return f"user {pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"user {os.getuid()}"


def yes(value: Any) -> Any:
    """Return a truth value as a word, anything else as it is."""
    return {True: "yes", False: "NO"}[value] if isinstance(value, bool) else value


WIDE = 150
"""Columns of a table that goes to a file or a pipe."""


def table(rows: list[list[Any]], head: list[str], as_json: bool) -> None:
    """Print rows as a table in which every character is visible and none is cut, or as JSON
    objects.
    """
    if as_json:
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in rows]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from loop.text import visible

    drawn = Table()
    for name in head:
        drawn.add_column(name, overflow="fold")  # nothing is cut
    for row in rows:
        drawn.add_row(*(Text(visible(str(v))) for v in row))
    Console(width=None if sys.stdout.isatty() else WIDE).print(drawn)
