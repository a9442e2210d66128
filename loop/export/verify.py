"""Does an export hold? `heirloop verify DIR`, without the runs.

It checks the chain, the signed heads, every table from the entries alone, and every file by the
manifest. For a changed byte anywhere and for a cut tail it raises VerificationFailed with the name
of the file. A closed start is held against the entries round it (`starts.py`). The content of any
other closed entry (`redact.py`) rests on the manifest's signature alone; an export by somebody
without the study's secret lacks it. The holder of a study's key can sign another history.
"""

from pathlib import Path
from typing import Any

from configs.entries import ChampionEntry, EndEntry, StudyEntry
from configs.errors import BadInput, VerificationFailed
from loop.export.compare import compare_instruments, compare_tables, read_back
from loop.export.manifest import (
    INSTRUMENTS,
    Manifest,
    check_signature,
    file_name,
    read_manifest,
)
from loop.export.redact import Carried, read
from loop.export.starts import check_starts
from loop.export.tables import TABLES
from loop.export.write import tabulate
from sandbox.foreign import read_file
from sandbox.heads import check_checkpoints


def verify_export(folder: Path, own_heads: Path | None = None) -> dict[str, Any]:
    """Check an export from its own bytes; raises VerificationFailed with the file's name.

    `own_heads` is somebody's own copy of a study's heads.
    """
    manifest = read_manifest(folder)
    if manifest.lean:
        return _verify_lean(folder, manifest)
    runs = {root: _read_run(folder, root) for root in manifest.studies}
    for root, signature in manifest.signatures.items():
        check_signature(root, runs[root].root.checkpoint_key, signature, manifest)
    heads = 0
    for root, carried in runs.items():
        heads += _check_heads(folder, root, carried, own_heads if len(runs) == 1 else None)
    if own_heads and len(runs) != 1:
        raise BadInput(
            f"--heads is {str(own_heads)!r} and the export holds {len(runs)} studies; it needs an"
            " export of one"
        )
    tables = tabulate(runs)
    figures = "computed again"
    if manifest.instruments < INSTRUMENTS:
        # The figures had other definitions then, so they are described and not compared.
        figures = compare_instruments(folder, manifest, INSTRUMENTS, tables.pop("instruments"))
    notes = compare_tables(folder, manifest, tables)
    return {
        "studies": len(runs),
        "entries": sum(carried.entries[-1].sequence for carried in runs.values()),
        "closed entries": sum(len(carried.closed) for carried in runs.values()),
        "signed heads": heads,
        "files": len(manifest.files) + 1,
        "tables": len(TABLES),
        "instruments": figures,
        "Parquet read back": read_back(folder, manifest),
        "signed by": f"{len(manifest.signatures)} of {len(runs)}",
        **notes,
    }


def _verify_lean(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Check a lean export: every file, and the signature of every study.

    Its tables cannot be computed again; the digests of what was left out stand in the manifest, so
    that whoever has the ledgers can.
    """
    for root in manifest.studies:
        name = file_name("root", root)
        carried = read(read_file(folder / name))
        first = carried.entries[0]
        if first.hash != root or first.kind != StudyEntry.kind:
            raise VerificationFailed(f"{name} is not the study root {root[:12]}")
        if root not in manifest.signatures:
            raise VerificationFailed(
                f"the study {root[:12]} did not sign manifest.json; a lean export rests on that"
            )
        key, signature = carried.root.checkpoint_key, manifest.signatures[root]
        check_signature(root, key, signature, manifest)
    return {
        "studies": len(manifest.studies),
        "files": len(manifest.files) + 1,
        "left out, by digest": len(manifest.left_out),
        "tables": "as the studies signed them; without the ledgers none is computed again",
        "signed by": f"{len(manifest.signatures)} of {len(manifest.studies)}",
    }


def _read_run(folder: Path, root: str) -> Carried:
    name = file_name("entries", root)
    try:
        carried = read(read_file(folder / name))
        check_starts(carried)
    except VerificationFailed as error:
        raise VerificationFailed(f"{name}: {error}") from None
    first = carried.entries[0] if carried.entries else None
    if first is None or first.hash != root or first.kind != StudyEntry.kind:
        raise VerificationFailed(
            f"{name}: entry 1 is not the study root {root[:12]} that manifest.json names"
        )
    return carried


def _check_heads(folder: Path, root: str, carried: Carried, own_heads: Path | None) -> int:
    """Check the signed heads of a run against its entries; return how many there are."""
    heads, book = file_name("heads", root), file_name("entries", root)
    entries, key = carried.entries, carried.root.checkpoint_key
    try:
        signed = check_checkpoints(entries, key, folder / heads)
        if own_heads:
            check_checkpoints(entries, key, own_heads)
    except VerificationFailed as error:
        raise VerificationFailed(f"{heads} and {book} do not agree: {error}") from None
    if not signed and any(entry.kind in (EndEntry.kind, ChampionEntry.kind) for entry in entries):
        raise VerificationFailed(
            f"{heads} holds no signed head; the tail of {book} cannot be trusted"
        )
    end = max((entry.sequence for entry in entries if entry.kind == EndEntry.kind), default=0)
    if end > max(signed, default=0):
        raise VerificationFailed(
            f"{heads} holds no signed head over entry {end}, which ends the study"
        )
    return len(signed)
