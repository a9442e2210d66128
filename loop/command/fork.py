"""`heirloop fork`: go on with the rest of a study whose ledger was lost."""

from pathlib import Path

import click

from loop.people.advice import quote
from loop.study.fork import fork as begin_fork
from loop.terminal import FOLDER, read_user


@click.command()
@FOLDER
@click.option("--from", "head", required=True, help="The newest known head, at least 8 characters.")
@click.option(
    "--to", required=True, type=click.Path(path_type=Path), help="The new run's folder and name."
)
@click.option("--why", required=True, help="Why; it stands in the new root.")
@click.option(
    "--heads",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A copy of the signed heads that somebody kept elsewhere.",
)
def fork(folder: Path, head: str, to: Path, why: str, heads: tuple[Path, ...]) -> None:
    """Begin a new study with the rest of the budget of a run whose newest ledger was lost."""
    record = begin_fork(folder, head, to, read_user(), why, heads)
    left = (record.left or {}).get("root", {})
    click.echo(
        f"{to} goes on from head {record.head[:12]} of entry {record.sequence}:"
        f" {left.get('cpu_us', 0) / 1e6:.0f} CPU-seconds and {left.get('jobs', 0)} jobs are left"
    )
    if record.left is None:
        command = f"heirloop amend {quote(to)} budget.jobs=N budget.cpu_seconds=N"
        click.echo(f"that head tells no amounts, so every account is used up; `{command}`")
    click.echo(
        f"run it with the settings of {folder} and study.name={to.name}"
        f" runs={to.resolve().parent}; orders and decisions after the copy are not known here"
    )
