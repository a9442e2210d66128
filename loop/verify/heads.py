"""Chain, signed heads and end of a run: is the ledger whole, and does it end where it says?

A signed head (checkpoint) stands in the run and in its holder's folder. A cut tail lacks entries
signed in a head.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from configs.build import strict_json
from configs.entries import ChampionEntry, EndEntry, Entry, StudyEntry, by_entry, lines_of
from configs.errors import BadInput, VerificationFailed
from loop.study.root import read_config
from sandbox import charges, keys, rest
from sandbox.budget import Balances
from sandbox.files import read_lines
from sandbox.foreign import LINES_BYTES, read_file
from sandbox.heads import check_checkpoints, open_ledger, places
from sandbox.ledger import Ledger

Rests = dict[int, list[tuple[str, Any]]]
"""Sequence -> (name of a signed head, the rest of the accounts that it tells at that entry)."""


def open_verified(folder: Path, copy: Path | None) -> tuple[Ledger, list[list[int]]]:
    """Open a ledger with a sound chain and sound signed heads.

    Returns it with the sequences signed in each place. `copy` is somebody's copy of the heads.
    """
    ledger, signed, rests = open_signed(folder, copy)
    balances: Balances = {}
    for facts in by_entry(ledger.entries()):
        for entry in facts:
            charges.move(balances, entry)
        check_rests(rests, facts[0].sequence, balances)
    return ledger, signed


def open_signed(folder: Path, copy: Path | None) -> tuple[Ledger, list[list[int]], Rests]:
    """Do as `open_verified`, but for what the heads tell of the accounts, which is returned.

    The caller holds it to the entries with `check_rests`, as it works its own way through them.
    """
    ledger = open_ledger(folder)
    read_config(ledger)
    entries = ledger.entries()
    if copy and not copy.is_file():
        raise BadInput(
            f"--heads is {str(copy)!r}; it should be a file of signed heads, one JSON object a line"
        )
    root = cast(StudyEntry, entries[0].fact)
    signed, rests = check_heads(folder, entries, root)
    if copy:
        signed.append(check_checkpoints(entries, root.checkpoint_key, copy))
    return ledger, signed, rests


def check_heads(
    folder: Path, entries: list[Entry], root: StudyEntry
) -> tuple[list[list[int]], Rests]:
    """Return the sequences signed in each place, and what the heads tell of the accounts.

    Raises VerificationFailed where a place tells another history, or lacks heads of the other.
    """
    inside_file, outside_file = places(folder, entries[0].hash)
    inside = check_checkpoints(entries, root.checkpoint_key, inside_file)
    outside = check_checkpoints(entries, root.checkpoint_key, outside_file)
    if not inside and not outside and any(lines_of(entries, ChampionEntry)):
        raise VerificationFailed(
            "no signed checkpoint was found in the run or outside it; the tail cannot be trusted"
        )
    is_holder = (keys.home() / "secrets" / root.secret).is_file()
    if outside or outside_file.is_file() or is_holder:
        _check_behind(inside, outside, inside_file)
        _check_behind(outside, inside, outside_file)
    return [inside, outside], list_rests((inside_file, outside_file))


def list_rests(places: Iterable[Path]) -> Rests:
    """Return what heads tell of the accounts; heads before format 2 tell nothing.

    The signatures were checked before. The second place repeats the first, so a line counts once.
    """
    rests, told = Rests(), set[bytes]()
    for place in places:
        for number, line in enumerate(read_lines(place), 1):
            if line in told:
                continue
            told.add(line)
            head = json.loads(line)
            if "left" in head:
                name = f"checkpoint {number} of {place.name}"
                rests.setdefault(head["sequence"], []).append((name, head["left"]))
    return rests


def check_rests(rests: Rests, sequence: int, balances: Balances) -> None:
    """Raise VerificationFailed where a head tells another rest of an account than its entries."""
    for name, left in rests.get(sequence, ()):
        if left != rest.left(balances):
            raise VerificationFailed(
                f"{name} tells another rest of the budget than the entries up to entry {sequence}"
            )


def _check_behind(own: list[int], other: list[int], place: Path) -> None:
    """Raise VerificationFailed where a place lacks more than the newest head of the other."""
    last = max(own, default=0)
    # A crash between the two writes leaves a place behind by a single head.
    if len(other) > 1 and last < other[-2]:
        raise VerificationFailed(
            f"{place} lacks checkpoints after entry {last}; the other place signed entry"
            f" {other[-1]}"
        )


def check_end(folder: Path, entries: list[Entry], signed: int) -> None:
    """Raise VerificationFailed where an end is not signed, or the run says more than its ledger.

    `signed` is the last entry under a signed head.
    """
    end = max((entry.sequence for entry, _ in lines_of(entries, EndEntry)), default=0)
    if end > signed:
        raise VerificationFailed(
            f"entry {end} ends the study and no signed checkpoint covers it; run the study once"
            " more to sign its end"
        )
    try:
        summary = strict_json(read_file(folder / "summary.json", LINES_BYTES), limit=LINES_BYTES)
        finished, count = bool(summary["finished"]), int(summary["entries"])
    except FileNotFoundError:
        return
    except (BadInput, KeyError, TypeError, ValueError, OSError):
        raise VerificationFailed(
            "summary.json is no summary; `heirloop report RUN` writes it again"
        ) from None
    last = entries[-1].sequence
    if count > last:
        raise VerificationFailed(
            f"entries {last + 1} to {count} are missing: summary.json counts {count}"
        )
    if finished and not end:
        raise VerificationFailed(
            "summary.json says that the study is finished, and the ledger has no end"
        )
