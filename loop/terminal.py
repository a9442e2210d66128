"""The person at the terminal: tables without a cut, and questions out of reach for a pipe."""

import json
import math
import os
import pwd
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs.errors import NeedsHuman
from loop.text import visible, write_number

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
FOLDER = click.argument("folder", type=click.Path(path_type=Path))
RUN = click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("runs/quickstart"),
    show_default=True,
)
WHY = click.option("--why", default="", help="Why; recorded.")
EVERY_SECONDS = 10
"""Seconds between lines of progress without a viewer."""
WIDE = 150
"""Columns of a table in a file or a pipe."""
LEGIBLE = 100
"""Columns of a paragraph."""


def at_terminal() -> bool:
    """Tell whether a person can type here; a pipe, a file and the end of input cannot."""
    return sys.stdin.isatty()


def need_terminal(reason: str) -> None:
    """Raise NeedsHuman, with this reason, unless a person can type here."""
    if not at_terminal():
        raise NeedsHuman(reason)


def confirm_digest(question: str, digest: str) -> None:
    """Raise NeedsHuman unless a person types the first six characters of a digest.

    Enter, a yes and the end of input do not stand in for them.
    """
    typed = click.prompt(f"{question}\ntype its first six characters to sign")
    if typed != digest[:6]:
        raise NeedsHuman("the characters do not match; nothing was signed")


def ask_passphrase(twice: bool = False) -> str:
    """Ask for a passphrase without an echo; `twice` for a new key."""
    passphrase: str = click.prompt("passphrase", hide_input=True, confirmation_prompt=twice)
    return passphrase


def read_user() -> str:
    """Return the name recorded with an order from this terminal."""
    # The system names the user; an environment variable could be set to any name.
    try:
        return f"user {pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        return f"user {os.getuid()}"


def write_truth(value: Any) -> Any:
    """Return a truth value as a word, anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return value


def shorten(value: Any) -> Any:
    """Return a number with four digits, a missing value as a dash, anything else as it is."""
    if value is None:
        return "-"
    return write_number(value) if isinstance(value, float) else value


def print_line(text: str) -> None:
    """Print a text and end the line."""
    click.echo(text)


def print_error(text: str) -> None:
    """Print a sentence beside the output, as every error is printed."""
    click.echo(f"heirloop: {text}", err=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2))


def print_answers(answers: Iterable[tuple[str, str]]) -> None:
    """Print questions with their answers, a paragraph each, every character visible."""
    width = min(LEGIBLE, shutil.get_terminal_size((LEGIBLE, 24)).columns)
    for question, text in answers:
        paragraph = visible(f"{question} {text}")
        click.echo(textwrap.fill(paragraph, width, subsequent_indent="  ", break_on_hyphens=False))


def print_table(rows: list[list[Any]], head: list[str], as_json: bool) -> None:
    """Print rows as a table, or as JSON objects.

    In the table every character is visible and nothing is cut.
    """
    if as_json:
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in rows]))
        return
    table = Table()
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(str(value))) for value in row))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def print_pairs(values: Mapping[str, Any], head: list[str], as_json: bool) -> None:
    """Print a mapping as a table of two columns, or as JSON objects."""
    print_table([[name, value] for name, value in values.items()], head, as_json)


def show_progress(width: int, as_json: bool = False) -> Callable[[str], None]:
    """Return a function for progress on a single line; without a viewer, a line now and then.

    A program that reads JSON gets no lines.
    """
    if sys.stderr.isatty():
        return lambda text: click.echo(f"\r{text:{width}}", err=True, nl=False)
    if as_json:
        return lambda text: None
    last = -math.inf

    def show(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY_SECONDS:
            last = time.monotonic()
            click.echo(text, err=True)

    return show
