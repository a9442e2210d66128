"""The verb for amendments of a study root: propose other settings or reviewers, or apply them."""

from pathlib import Path

import click

from loop.people import amend as amendments
from loop.people.advice import quote
from loop.terminal import FOLDER, read_user


@click.command()
@FOLDER
@click.argument("changes", nargs=-1)
@click.option("--why", default="", help="Why; recorded.")
@click.option("--reviewers", "repin", is_flag=True, help="Pin this user's keys as they are now.")
@click.option("--clock", is_flag=True, help="Let the ledger's clock go on after a jump ahead.")
@click.option(
    "--apply",
    "apply",
    default="",
    help="Open the version that people decided on; the digest's beginning.",
)
def amend(
    folder: Path, changes: tuple[str, ...], why: str, repin: bool, clock: bool, apply: str
) -> None:
    """Propose another objective, budget, gates or reviewers (FIELD=VALUE ...), or apply a decided
    amendment.
    """
    if apply:
        version = amendments.apply_amendment(folder, apply)
        click.echo(f"the study root is at version {version}; older grants and mandates are dead")
        return
    name = amendments.amend(folder, changes, read_user(), why, repin, clock)
    click.echo(
        f"proposed {name[:12]}; `heirloop approve {name[:12]} --run {quote(folder)} --key NAME"
        f" --reason WHY`, then `heirloop amend {quote(folder)} --apply {name[:12]}`"
    )
