"""`heirloop paper RUN`: the study as a paper-like page, written from its ledger."""

from pathlib import Path

import click

from loop.report.paper import write_paper
from loop.terminal import FOLDER


@click.command()
@FOLDER
def paper(folder: Path) -> None:
    """Write paper.html of a run: question, methods, results, write-ups with their blind review and
    checks, limitations (docs/scientist.md).
    """
    click.echo(str(write_paper(folder)))
