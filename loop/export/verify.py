"""`heirloop verify DIR` on an export, without the runs: the chain, the signed heads, every table
from the entries alone, every file by the manifest.

It raises VerificationFailed, which names the file, for a changed byte anywhere and for a cut tail.
What a closed entry shows (loop/redact.py) rests on the manifest's signature alone; an export by
somebody without the study's secret has none. Whoever holds a study's key can sign another history.
"""

import csv
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configs.errors import BadInput, VerificationFailed
from loop.export.redact import Carried, read
from loop.export.tables import TABLES, columns
from loop.export.write import DOMAIN, FORMAT, INSTRUMENTS, csv_bytes, named, tabulated
from sandbox.canonical import canonical, digest
from sandbox.ledger import check_checkpoints

FIELDS = {"files", "format", "made_by", "signatures", "studies"}


HEX = re.compile("[0-9a-f]{64}")


NEAR = 1e-6
"""Relative difference that a figure of the instruments may have where it is computed again: another
machine's arithmetic differs in the last bits.
"""


def verify_export(folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """Check an export from its own bytes; raises VerificationFailed, which names the file. `kept`
    is somebody's own copy of one study's heads.
    """
    told = _read_manifest(folder)
    runs, heads, unsigned = (
        {root: _run(folder, root) for root in told["studies"]},
        0,
        canonical({k: v for k, v in told.items() if k != "signatures"}),
    )
    for root, signature in told["signatures"].items():
        _manifest_signed(runs[root], signature, unsigned)
    for root, carried in runs.items():
        heads += _signed_heads(folder, root, carried, kept if len(runs) == 1 else None)
    if kept and len(runs) != 1:
        raise BadInput(
            f"--heads is {str(kept)!r} and the export holds {len(runs)} studies; it needs an export"
            " of one"
        )
    tables = tabulated(runs)
    figures = (
        _earlier(folder, told, tables)
        if told.get("instruments", 1) < INSTRUMENTS
        else "computed again"
    )
    for name, rows in tables.items():
        _same(folder, name, rows)
    read_back = _read_back(folder, tables, [f for f in told["files"] if f.endswith(".parquet")])
    closed = sum(len(carried.closed) for carried in runs.values())
    return {
        "studies": len(runs),
        "entries": sum(len(carried.entries) for carried in runs.values()),
        "closed entries": closed,
        "signed heads": heads,
        "files": len(told["files"]) + 1,
        "tables": len(TABLES),
        "instruments": figures,
        "Parquet read back": read_back,
        "signed by": f"{len(told['signatures'])} of {len(runs)}",
    }


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest, each file held against it."""
    try:
        data = (folder / "manifest.json").read_bytes()
        told = json.loads(data)
        roots, files, signatures = (
            list(told["studies"]),
            dict(told["files"]),
            dict(told["signatures"]),
        )
        whole = (
            canonical(told) == data
            and set(told) - {"instruments"} == FIELDS
            and bool(roots and files)
            and set(signatures) <= set(roots)
        )
        whole = whole and type(told.get("instruments", 1)) is int
        whole = (
            whole and len(set(roots)) == len(roots) and all(HEX.fullmatch(root) for root in roots)
        )
    except FileNotFoundError:
        raise VerificationFailed(
            "manifest.json is missing; the export was not finished, or was cut"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise VerificationFailed("manifest.json is not as it was written")
    if told["format"] != FORMAT or not 1 <= told.get("instruments", 1) <= INSTRUMENTS:
        raise BadInput(
            f"manifest.json has format {told['format']!r} and instruments of edition"
            f" {told.get('instruments', 1)}, made by {told['made_by']!r}; this version reads format"
            f" {FORMAT} and editions up to {INSTRUMENTS}"
        )
    _files(folder, told)
    return dict(told)


def _files(folder: Path, told: Mapping[str, Any]) -> None:
    """Hold the files that are there against the manifest, and the manifest against those that an
    export has.
    """
    found = {
        str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()
    } - {"manifest.json"}
    for name in sorted(found ^ set(told["files"])):
        raise VerificationFailed(
            f"{name} is {'not in manifest.json' if name in found else 'missing'}"
        )
    tables = {
        f"{name}.{end}"
        for name in TABLES
        for end in ("csv", "parquet")
        if end == "csv" or any(f.endswith(".parquet") for f in found)
    }
    for name in sorted(
        found
        ^ {
            "README.md",
            *tables,
            *(named(what, root) for what in ("entries", "heads") for root in told["studies"]),
        }
    ):
        raise VerificationFailed(
            f"{name} is {'no file of an export' if name in found else 'missing'}"
        )
    for name, expected in told["files"].items():
        if (folder / name).is_symlink() or digest((folder / name).read_bytes()) != expected:
            raise VerificationFailed(
                f"{name} is not the file that manifest.json names: its bytes have another digest"
            )


def _manifest_signed(carried: Carried, signature: Any, data: bytes) -> None:
    try:
        public = Ed25519PublicKey.from_public_bytes(
            bytes.fromhex(carried.entries[0].body["checkpoint_key"])
        )
        public.verify(bytes.fromhex(signature), DOMAIN + data)
    except (InvalidSignature, ValueError, TypeError):
        raise VerificationFailed(
            f"manifest.json is not signed by the study {carried.entries[0].hash[:12]}"
        ) from None


def _run(folder: Path, root: str) -> Carried:
    name = named("entries", root)
    try:
        carried = read((folder / name).read_bytes())
    except VerificationFailed as error:
        raise VerificationFailed(f"{name}: {error}") from None
    if not carried.entries or carried.entries[0].hash != root or carried.entries[0].kind != "study":
        raise VerificationFailed(
            f"{name}: entry 1 is not the study root {root[:12]} that manifest.json names"
        )
    return carried


def _signed_heads(folder: Path, root: str, carried: Carried, kept: Path | None) -> int:
    """Check the signed heads of one run against its entries; return how many there are."""
    name, entries, key = (
        named("heads", root),
        carried.entries,
        carried.entries[0].body["checkpoint_key"],
    )
    try:
        found = check_checkpoints(entries, key, folder / name)
        if kept:
            check_checkpoints(entries, key, kept)
    except VerificationFailed as error:
        raise VerificationFailed(
            f"{name} and {named('entries', root)} do not agree: {error}"
        ) from None
    end = max((e.sequence for e in entries if e.kind in ("end", "champion")), default=0)
    if end > 0 and not found:
        raise VerificationFailed(
            f"{name} holds no signed head; the tail of {named('entries', root)} cannot be trusted"
        )
    closing = max((e.sequence for e in entries if e.kind == "end"), default=0)
    if closing > max(found, default=0):
        raise VerificationFailed(
            f"{name} holds no signed head over entry {closing}, which ends the study"
        )
    return len(found)


def _earlier(folder: Path, told: Mapping[str, Any], tables: dict[str, Any]) -> str:
    """Take the instruments, defined otherwise then, out of the tables that are compared; return
    what stands for them and how many differ.
    """
    mine, theirs = (
        _cells(csv_bytes("instruments", tables.pop("instruments"))),
        _cells((folder / "instruments.csv").read_bytes()),
    )
    differ = sum(not _alike(a, b) for a, b in zip(mine, theirs, strict=False)) + abs(
        len(mine) - len(theirs)
    )
    known = (
        "signed"
        if set(told["signatures"]) == set(told["studies"])
        else "told, and not signed by every study,"
    )
    return (
        f"{known} as edition {told.get('instruments', 1)} has them; in edition {INSTRUMENTS}"
        f" {differ} of {len(theirs) - 1} rows differ"
    )


def _cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(errors="replace"), newline="")))


def _alike(mine: Sequence[str], theirs: Sequence[str]) -> bool:
    return len(mine) == len(theirs) and all(map(_near, mine, theirs))


def _same(folder: Path, name: str, rows: Sequence[Sequence[Any]]) -> None:
    """Raise VerificationFailed where a table is not what the entries give."""
    again, found = csv_bytes(name, rows), (folder / f"{name}.csv").read_bytes()
    if again == found:
        return
    mine, theirs = _cells(again), _cells(found)
    if not (name == "instruments" and len(mine) == len(theirs) and all(map(_alike, mine, theirs))):
        row = next(
            (i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
            min(len(mine), len(theirs)),
        )
        raise VerificationFailed(f"{name}.csv is not what the entries give: row {row} differs")


def _near(one: str, other: str) -> bool:
    try:
        return one == other or math.isclose(float(one), float(other), rel_tol=NEAR, abs_tol=1e-12)
    except ValueError:
        return False


def _read_back(
    folder: Path, tables: Mapping[str, Sequence[Sequence[Any]]], files: Sequence[str]
) -> str:
    """Compare Parquet files with the tables, value by value; return how many, or why not."""
    if not files:
        return "none in the export"
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        return "not read: pyarrow is not installed; held against the manifest alone"
    for name, rows in tables.items():
        try:
            found = parquet.read_table(folder / f"{name}.parquet")
            same = found.column_names == list(columns(TABLES[name])) and all(
                all(
                    _near(str(a), str(b)) if name == "instruments" else a == b
                    for a, b in zip(column, mine, strict=True)
                )
                for column, mine in zip(
                    found.to_pydict().values(), zip(*rows, strict=True), strict=bool(rows)
                )
            )
        except (ArrowException, OSError, ValueError):
            same = False
        if not same:
            raise VerificationFailed(f"{name}.parquet is not what the entries give")
    return f"{len(files)} of {len(files)}"
