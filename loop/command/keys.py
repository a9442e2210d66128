"""Verbs on keys: make, invite, add, list and revoke reviewers' keys, and say where to call them.

A person at a terminal makes, takes and uses a key, never a pipe.
"""

import click

from loop import terminal
from loop.people.addresses import Addresses
from loop.terminal import AS_JSON
from sandbox import keys as key_ring


@click.group()
def keys() -> None:
    """Reviewers' keys."""


@keys.command("new")
@click.argument("name")
@click.option("--kind", default="person", show_default=True, help="person, simulated or external.")
@click.option(
    "--person",
    default="",
    help="Who holds it, if not named as the key; all keys of one person count once.",
)
def make_key(name: str, kind: str, person: str) -> None:
    """Make an encrypted key in your own folder."""
    terminal.need_terminal(
        "a key is made by a person at a terminal, who types its passphrase; run this there"
    )
    half = key_ring.new_key(name, kind, terminal.ask_passphrase(twice=True), person)
    click.echo(f"{half['name']} ({half['kind']}): {half['public']}")


@keys.command("invite")
@click.argument("name")
@click.option(
    "--kind", default="person", show_default=True, help="person, simulated, external or auditor."
)
@click.option("--person", default="", help="Who will hold it, if not named as the key.")
def invite(name: str, kind: str, person: str) -> None:
    """Print a code: with it, a single browser may enrol a key of this name within a day."""
    terminal.need_terminal("an invitation is given by a person at a terminal; run this there")
    click.echo(key_ring.invite(name, kind, person))


@keys.command("add")
@click.argument("name")
@click.argument("public")
@click.option(
    "--kind", default="person", show_default=True, help="person, simulated, external or auditor."
)
@click.option("--person", default="", help="Who holds it, if not named as the key.")
def add(name: str, public: str, kind: str, person: str) -> None:
    """Take the PUBLIC half (hex) of a key made elsewhere."""
    terminal.need_terminal("a key is taken by a person at a terminal; run this there")
    half = key_ring.add(name, kind, person or name, public)
    click.echo(f"{half['name']} ({half['kind']}): {half['public']}")


@keys.command("sign-in")
@click.argument("name")
@click.argument("nonce")
@click.option(
    "--origin",
    required=True,
    help="Address of the inbox, as the browser shows it: http://127.0.0.1:8321",
)
def sign_in(name: str, nonce: str, origin: str) -> None:
    """Sign an inbox's challenge with a key of this folder, and print the text to paste into the
    browser.
    """
    terminal.need_terminal("a challenge is signed by a person at a terminal; run this there")
    key = key_ring.open_key(name, terminal.ask_passphrase())
    payload = {"nonce": nonce, "origin": origin.rstrip("/"), "public": key_ring.public_hex(key)}
    click.echo(key_ring.sign(payload, key, "sign-in").decode())


@keys.command("list")
@AS_JSON
def list_keys(as_json: bool) -> None:
    """List public halves."""
    revoked = key_ring.revoked()
    book = Addresses()
    head = ["name", "kind", "person", "public", "called at", "revoked"]
    rows = []
    for half in key_ring.public_keys():
        dead = half["public"] in revoked
        fields = [half["name"], half["kind"], half["person"], half["public"]]
        address = book.display(half["name"])
        rows.append([*fields, address, dead if as_json else terminal.write_truth(dead)])
    terminal.print_table(rows, head, as_json)


@keys.command("address")
@click.argument("name")
@click.argument("url", default="")
@click.option("--remove", is_flag=True, help="Forget it.")
def set_address(name: str, url: str, remove: bool) -> None:
    """Say where reviewer NAME is called: an apprise URL (mailto://, slack://, json:// ...). Without
    URL it is asked for and not echoed.
    """
    if not url and not remove:
        terminal.need_terminal(
            "URL is missing; give it, or run this at a terminal and type it there"
        )
        url = click.prompt("URL", hide_input=True)
    book = Addresses()
    book.set(name, "" if remove else url)
    click.echo(f"{name}: forgotten" if remove else f"{name}: {book.display(name)}")


@keys.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """End a key: its unused decisions count no more."""
    click.echo(f"revoked: {name} ({key_ring.revoke(name)})")
