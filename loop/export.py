"""`heirloop export RUN... --to DIR`, and `heirloop verify DIR` on what it wrote, without the runs.

An export is tidy tables (CSV and Parquet) beside what proves them: each ledger's entries, its signed heads, the public key that the study root pins.
Verification recomputes chain, heads and every table from the entries alone, then holds every file against the manifest, which the study's key signs
where its secret is at hand. Stored bytes, seeds and the secret are never in it. It refuses a folder that holds something, a run whose
record is broken, and the same run twice. Whoever holds a study's key can sign another history.
"""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configs.errors import BadInput, VerificationFailed
from loop import tabulate
from loop.cite import version
from loop.redact import WHY, Carried, lines, read, redacted
from loop.study import places, signer
from loop.tables import TABLES, Redaction, cells, columns, dictionary
from loop.verify import blobs, ended, opened
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.ledger import check_checkpoints

FORMAT = 1
DOMAIN = b"heirloop-export:"
FIELDS = ["files", "format", "made_by", "signatures", "studies"]
NEAR = 1e-6
"""Relative difference that a figure of the instruments may have where it is computed again: another machine's arithmetic differs in the last bits."""
README = """# An export of Heirloop
One row an observation; `dictionary.csv` says what each column means, `redactions.csv` what was left out and why.
An empty cell is a missing value. Text is shown as data: made visible, clipped, never to be run.
`entries-*.jsonl` are the ledgers, `heads-*.jsonl` their signed heads; `heirloop verify DIR` recomputes the tables from them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One run, read and checked, with the bytes of its two files."""

    carried: Carried
    "its entries"
    entries: bytes
    "entries.jsonl"
    heads: bytes
    "signed heads, one JSON object a line"


def export(folders: Sequence[Path], to: Path, parquet: bool = True) -> dict[str, Any]:
    """Write runs to a new or empty folder; return what was written. Raises BadInput, VerificationFailed for a broken ledger."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"--to is {str(to)!r}, which holds something; name a new or empty folder")
    write = _parquet() if parquet else None
    parts: dict[str, Part] = {}
    for folder in folders:
        root, part = _part(folder)
        if root in parts:
            raise BadInput(f"{folder} is the study {root[:12]} once more; name each run once")
        parts[root] = part
    tables = tabulated({root: part.carried for root, part in parts.items()})
    files = {f"{name}.csv": _csv(name, rows) for name, rows in tables.items()} | {"README.md": README.encode()}
    files |= {f"{name}.parquet": write(name, rows) for name, rows in tables.items()} if write else {}
    for root, part in parts.items():
        files |= {_named("entries", root): part.entries, _named("heads", root): part.heads}
    to.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (to / name).write_bytes(data)
    (to / "manifest.json").write_bytes(_manifest(parts, files))  # last: its existence means done
    return {"studies": len(parts), "files": len(files) + 1, **{name: len(rows) for name, rows in tables.items()}}


def _named(what: str, root: str) -> str:
    return f"{what}-{root[:16]}.jsonl"


def _part(folder: Path) -> tuple[str, Part]:
    ledger, signed = opened(folder, None)
    root = ledger.since(0)[0].hash
    heads = max((p.read_bytes() for p in places(folder, root) if p.is_file()), key=len, default=b"")
    entries = ledger.entries()  # after the heads: a run that goes on meanwhile must not be behind them
    ended(folder, entries, max((max(h, default=0) for h in signed), default=0))
    carried = redacted(entries)
    return root, Part(carried=carried, entries=b"".join(line + b"\n" for line in lines(ledger, carried)), heads=heads)


def _manifest(parts: Mapping[str, Part], files: Mapping[str, bytes]) -> bytes:
    told = {"format": FORMAT, "made_by": f"heirloop {version()}", "studies": list(parts),
            "files": {name: digest(data) for name, data in sorted(files.items())}}  # fmt: skip
    signed = {}
    for root, part in parts.items():
        try:
            secret = keys.load_secret(part.carried.entries[0].body["secret"])
        except VerificationFailed:
            continue  # a copy, exported by somebody who does not hold the study
        signed[root] = signer(secret).sign(DOMAIN + canonical(told)).hex()
    return canonical({**told, "signatures": signed})


def tabulated(runs: Mapping[str, Carried]) -> dict[str, list[Any]]:
    """Return every table of runs, by study root: name -> rows."""
    found: dict[str, list[Any]] = {name: [] for name in TABLES}
    for carried in runs.values():
        entries, facts = carried.entries, carried.facts()
        found["studies"].append(tabulate.study(entries, facts))
        found["plans"] += tabulate.plans(entries, facts)
        for name, make in (("replicates", tabulate.replicates), ("decisions", tabulate.decisions), ("jobs", tabulate.jobs),
                           ("looks", tabulate.looks), ("incidents", tabulate.incidents)):  # fmt: skip
            found[name] += make(entries)
    found["instruments"] += tabulate.instruments({root: carried.ledger() for root, carried in runs.items()})
    for root, carried in runs.items():
        found["redactions"] += _left_out(root, carried)
    found["redactions"] += tabulate.clipped(found)
    found["dictionary"] += dictionary()
    return found


def _left_out(root: str, carried: Carried) -> Iterator[Redaction]:
    where, kinds = _named("entries", root), {e.sequence: e.kind for e in carried.entries}
    counts: dict[tuple[str, str], int] = {}
    for sequence, why in carried.closed.items():
        counts[why, kinds[sequence]] = counts.get((why, kinds[sequence]), 0) + 1
    for (why, kind), count in sorted(counts.items()):
        yield Redaction(study=root, where=where, what=f"{kind}: closed as {why}", left_out_count=count, why=WHY[why][2])
    stored = {blob for e in carried.entries if e.sequence not in carried.closed for blob in blobs(e.kind, e.body)}
    yield Redaction(study=root, where="store", what="stored bytes: programs, weights, data, predictions, logs", left_out_count=len(stored),
                    why="entries name their digests; the run holds them")  # fmt: skip
    yield Redaction(study=root, where="study secret", what="the secret, held-out answers and all that is derived from it", left_out_count=1,
                    why="its hash alone is in the study root")  # fmt: skip


def _csv(name: str, rows: Sequence[Any]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns(TABLES[name]))
    for row in rows:
        writer.writerow([{True: "true", False: "false"}[v] if isinstance(v, bool) else v for v in cells(row)])
    return out.getvalue().encode()


def _parquet() -> Any:
    """Return the writer of Parquet, table by table; raises BadInput where its library is missing."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise BadInput("Parquet needs pyarrow, which is not installed; `pip install -e '.[export]'`, or --csv-only") from None
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

    def write(name: str, rows: Sequence[Any]) -> bytes:
        meanings = {c.column: c.meaning for c in dictionary() if c.table == name}
        schema = pa.schema([pa.field(column, kinds[kind], empty, {"meaning": meanings[column]})
                            for column, (kind, empty) in columns(TABLES[name]).items()])  # fmt: skip
        values = list(zip(*(cells(row) for row in rows), strict=True)) or [()] * len(schema)
        out = io.BytesIO()
        parquet.write_table(pa.table([list(column) for column in values], schema=schema), out)
        return out.getvalue()

    return write


def verify_export(folder: Path, kept: Path | None = None) -> dict[str, Any]:
    """Check an export from its own bytes; raises VerificationFailed, which names the file. `kept` is somebody's own copy of one study's heads."""
    told, signed = _read_manifest(folder)
    runs, heads = {root: _run(folder, root) for root in told["studies"]}, 0
    for root, carried in runs.items():
        heads += _signed_heads(folder, root, carried, kept if len(runs) == 1 else None)
    if kept and len(runs) != 1:
        raise BadInput(f"--heads is {str(kept)!r} and the export holds {len(runs)} studies; it needs an export of one")
    tables = tabulated(runs)
    for name, rows in tables.items():
        _same(folder, name, rows)
    read_back = _read_back(folder, tables, [f for f in told["files"] if f.endswith(".parquet")])
    closed = sum(len(carried.closed) for carried in runs.values())
    return {"studies": len(runs), "entries": sum(len(carried.entries) for carried in runs.values()), "closed entries": closed,
            "signed heads": heads, "files": len(told["files"]) + 1, "tables": len(tables), "Parquet read back": read_back,
            "signed by": f"{signed} of {len(runs)}"}  # fmt: skip


def _read_manifest(folder: Path) -> tuple[dict[str, Any], int]:
    """Return the manifest, each file held against it, and how many studies signed it."""
    data = (folder / "manifest.json").read_bytes()
    try:
        told = json.loads(data)
        signatures, unsigned = told["signatures"], {k: v for k, v in told.items() if k != "signatures"}
        whole = canonical(told) == data and set(signatures) <= set(told["studies"]) and sorted(told) == FIELDS
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise VerificationFailed("manifest.json is not as it was written")
    if told["format"] != FORMAT:
        raise BadInput(f"manifest.json has format {told['format']!r}, made by {told['made_by']!r}; this version reads format {FORMAT}")
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()} - {"manifest.json"}
    for name in sorted(found ^ set(told["files"])):
        raise VerificationFailed(f"{name} is {'not in manifest.json' if name in found else 'missing'}")
    for name, expected in told["files"].items():
        if (folder / name).is_symlink() or digest((folder / name).read_bytes()) != expected:
            raise VerificationFailed(f"{name} is not the file that manifest.json names: its bytes have another digest")
    for root, signature in signatures.items():
        _manifest_signed(_run(folder, root), signature, canonical(unsigned))
    return told, len(signatures)


def _manifest_signed(carried: Carried, signature: Any, data: bytes) -> None:
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(carried.entries[0].body["checkpoint_key"]))
        public.verify(bytes.fromhex(signature), DOMAIN + data)
    except (InvalidSignature, ValueError, TypeError):
        raise VerificationFailed(f"manifest.json is not signed by the study {carried.entries[0].hash[:12]}") from None


def _run(folder: Path, root: str) -> Carried:
    name = _named("entries", root)
    try:
        carried = read((folder / name).read_bytes())
    except OSError:
        raise VerificationFailed(f"{name} is missing") from None
    except VerificationFailed as error:
        raise VerificationFailed(f"{name}: {error}") from None
    if not carried.entries or carried.entries[0].hash != root or carried.entries[0].kind != "study":
        raise VerificationFailed(f"{name}: entry 1 is not the study root {root[:12]} that manifest.json names")
    return carried


def _signed_heads(folder: Path, root: str, carried: Carried, kept: Path | None) -> int:
    """Check the signed heads of one run against its entries; return how many there are."""
    name, entries, key = _named("heads", root), carried.entries, carried.entries[0].body["checkpoint_key"]
    try:
        found = check_checkpoints(entries, key, folder / name)
        if kept:
            check_checkpoints(entries, key, kept)
    except VerificationFailed as error:
        raise VerificationFailed(f"{name} and {_named('entries', root)} do not agree: {error}") from None
    end = max((e.sequence for e in entries if e.kind in ("end", "champion")), default=0)
    if end > 0 and not found:
        raise VerificationFailed(f"{name} holds no signed head; the tail of {_named('entries', root)} cannot be trusted")
    closing = max((e.sequence for e in entries if e.kind == "end"), default=0)
    if closing > max(found, default=0):
        raise VerificationFailed(f"{name} holds no signed head over entry {closing}, which ends the study")
    return len(found)


def _same(folder: Path, name: str, rows: Sequence[Any]) -> None:
    """Raise VerificationFailed where a table is not what the entries give."""
    again, found = _csv(name, rows), (folder / f"{name}.csv").read_bytes()
    if again == found:
        return
    mine, theirs = (list(csv.reader(io.StringIO(data.decode(errors="replace"), newline=""))) for data in (again, found))
    near = name == "instruments" and [len(row) for row in mine] == [len(row) for row in theirs]
    if not (near and all(_near(a, b) for one, other in zip(mine, theirs, strict=True) for a, b in zip(one, other, strict=True))):
        row = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs)))
        raise VerificationFailed(f"{name}.csv is not what the entries give: row {row} differs")


def _near(one: str, other: str) -> bool:
    try:
        return one == other or math.isclose(float(one), float(other), rel_tol=NEAR, abs_tol=1e-12)
    except ValueError:
        return False


def _read_back(folder: Path, tables: Mapping[str, Sequence[Any]], files: Sequence[str]) -> str:
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
                all(_near(str(a), str(b)) if name == "instruments" else a == b for a, b in zip(column, mine, strict=True))
                for column, mine in zip(found.to_pydict().values(), zip(*map(cells, rows), strict=True), strict=bool(rows)))  # fmt: skip
        except (ArrowException, OSError, ValueError):
            same = False
        if not same:
            raise VerificationFailed(f"{name}.parquet is not what the entries give")
    return f"{len(files)} of {len(files)}"


