"""Where do a study's ledger and its stored bytes lie? In its folder, or on servers."""

from pathlib import Path

from configs.build import need
from sandbox import postgres
from sandbox.address import make_address, read_address, remember, write_address
from sandbox.remote_store import (
    NAMED,
    VARIABLE,
    Place,
    RemoteStore,
    need_store_url,
    read_place,
    write_place,
)


def settle_ledger(folder: Path, url: str, fresh: bool) -> None:
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


def settle_store(folder: Path, url: str, fresh: bool) -> None:
    """Put a fresh study's stored bytes on the server of a URL; empty: nothing is to be done.

    Raises BadInput where an older run's store lies elsewhere, and the reasons of the server.
    """
    if not url:
        return
    place = Place(url=need_store_url(url), study=folder.resolve().name)
    remember(place.url, NAMED, VARIABLE)
    there = read_place(folder)
    if not fresh:
        right = there.url if there else "empty, for the stored bytes lie in the run's folder"
        need(there is not None and there.url == place.url, "store", place.url, right)
        return
    store = RemoteStore(place)
    if there != place:  # a loop that was killed here has written it before
        store.need_empty()
        write_place(folder, place)
    store.need_kept()
