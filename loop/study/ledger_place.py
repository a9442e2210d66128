"""Where does a study's ledger lie? In its folder, or on the server that `ledger=URL` names."""

from pathlib import Path

from configs.build import need
from sandbox import postgres
from sandbox.address import make_address, read_address, remember, write_address


def settle(folder: Path, url: str, fresh: bool) -> None:
    """Put a fresh study's ledger on the server of a URL; empty: nothing is to be done.

    Raises BadInput where an older run's ledger lies elsewhere, and the reasons of the server.
    """
    if not url:
        return
    address = make_address(url, folder.name)
    remember(address.url)
    if fresh:
        postgres.create(address)
        write_address(folder, address)
        return
    there = read_address(folder)
    right = there.url if there else "empty, for the ledger lies in the run's folder"
    need(there == address, "ledger", address.url, right)
