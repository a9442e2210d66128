"""`heirloop export RUN... --to DIR`: runs as tidy tables, CSV and Parquet, beside what proves them
(`loop/export_verify.py`).

What proves them: each ledger's entries, its signed heads, the public key that its study root pins,
and a manifest of every file, which the study's key signs where its secret is at hand. Every table
is made from the entries as the export carries them, so that nothing can be in a table that is
closed there. Stored bytes, seeds and the secret are never in it. It refuses a folder that holds
something, a run whose record is broken, and the same run twice.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import BadInput, VerificationFailed
from loop.export import fill
from loop.export.cite import version
from loop.export.redact import WHY, Carried, lines, redacted
from loop.export.tables import TABLES, Redaction, cells, columns, dictionary
from loop.study.open import places, signer
from loop.verify.run import blobs, ended, opened
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.ledger import Ledger

FORMAT = 1


INSTRUMENTS = 2
"""Edition of the instruments' definitions. 2: the interval of `calibration` is a jackknife. An
export without one is of edition 1.
"""


DOMAIN = b"heirloop-export:"


GATE = (
    "replicates_count",
    "gain_metric",
    "gain_low_metric",
    "gain_high_metric",
    "level_p",
    "evidence_p",
    "corrected_gain_metric",
    "corrected_low_metric",
    "corrected_high_metric",
)
"""Columns of plans that a mirror does not get: of gate only the answer leaves a study for places
outside it.
"""


README = """# An export of Heirloop
One row an observation; `dictionary.csv` says what each column means, `redactions.csv` what was left out and why.
An empty cell is a missing value. Text is shown as data: made visible, clipped, never to be run.
`entries-*.jsonl` are the ledgers, `heads-*.jsonl` their signed heads; `heirloop verify DIR` recomputes the tables from them.
"""  # noqa: E501


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
    """Write runs to a new or empty folder; return what was written. Raises BadInput,
    VerificationFailed for a broken ledger.
    """
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
    files = {f"{name}.csv": csv_bytes(name, rows) for name, rows in tables.items()} | {
        "README.md": README.encode()
    }
    files |= (
        {f"{name}.parquet": write(name, rows) for name, rows in tables.items()} if write else {}
    )
    for root, part in parts.items():
        files |= {named("entries", root): part.entries, named("heads", root): part.heads}
    to.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (to / name).write_bytes(data)
    (to / "manifest.json").write_bytes(_manifest(parts, files))  # last: its existence means done
    return {
        "studies": len(parts),
        "files": len(files) + 1,
        **{name: len(rows) for name, rows in tables.items()},
    }


def named(what: str, root: str) -> str:
    """Return the name of a run's file."""
    return f"{what}-{root[:16]}.jsonl"


def _part(folder: Path) -> tuple[str, Part]:
    ledger, signed = opened(folder, None)
    root = ledger.since(0)[0].hash
    heads = max((p.read_bytes() for p in places(folder, root) if p.is_file()), key=len, default=b"")
    entries = (
        ledger.entries()
    )  # after the heads: a run that goes on meanwhile must not be behind them
    ended(folder, entries, max((max(h, default=0) for h in signed), default=0))
    carried = redacted(entries)
    return root, Part(carried=carried, entries=lines(ledger, carried), heads=heads)


def _manifest(parts: Mapping[str, Part], files: Mapping[str, bytes]) -> bytes:
    told = {
        "format": FORMAT,
        "instruments": INSTRUMENTS,
        "made_by": f"heirloop {version()}",
        "studies": list(parts),
        "files": {name: digest(data) for name, data in sorted(files.items())},
    }
    signed = {}
    for root, part in parts.items():
        try:
            secret = keys.load_secret(part.carried.entries[0].body["secret"])
        except VerificationFailed:
            continue  # a copy, exported by somebody who does not hold the study
        signed[root] = signer(secret).sign(DOMAIN + canonical(told)).hex()
    return canonical({**told, "signatures": signed})


def tabulated(runs: Mapping[str, Carried]) -> dict[str, list[list[Any]]]:
    """Return every table of runs, by study root: name -> rows of cells."""
    found: dict[str, list[Any]] = {name: [] for name in TABLES}
    for carried in runs.values():
        entries, facts = carried.entries, carried.facts()
        found["studies"].append(fill.study(entries, facts))
        found["plans"] += fill.plans(entries, facts)
        for name, make in (
            ("replicates", fill.replicates),
            ("decisions", fill.decisions),
            ("jobs", fill.jobs),
            ("looks", fill.looks),
            ("incidents", fill.incidents),
        ):
            found[name] += make(entries)
    found["instruments"] += fill.instruments(
        {root: carried.ledger() for root, carried in runs.items()}
    )
    for root, carried in runs.items():
        found["redactions"] += _left_out(root, carried)
    found["redactions"] += fill.clipped(found)
    found["dictionary"] += dictionary()
    return {name: [cells(row) for row in rows] for name, rows in found.items()}


def mirrored(ledger: Ledger) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Return plans, decisions and instruments of an ended study for a tracker: name -> (columns,
    rows), without gate figures of single plans.
    """
    found = {}
    tables = tabulated({"": redacted(ledger.entries())})
    for name in ("plans", "decisions", "instruments"):
        head = list(columns(TABLES[name]))
        kept = [i for i, column in enumerate(head) if name != "plans" or column not in GATE]
        found[name] = ([head[i] for i in kept], [[row[i] for i in kept] for row in tables[name]])
    return found


def _left_out(root: str, carried: Carried) -> Iterator[Redaction]:
    where, kinds = named("entries", root), {e.sequence: e.kind for e in carried.entries}
    counts: dict[tuple[str, str], int] = {}
    for sequence, why in carried.closed.items():
        counts[why, kinds[sequence]] = counts.get((why, kinds[sequence]), 0) + 1
    for (why, kind), count in sorted(counts.items()):
        yield Redaction(
            study=root,
            where=where,
            what=f"{kind}: closed as {why}",
            left_out_count=count,
            why=WHY[why][2],
        )
    stored = {
        blob
        for e in carried.entries
        if e.sequence not in carried.closed
        for blob in blobs(e.kind, e.body)
    }
    yield Redaction(
        study=root,
        where="store",
        what="stored bytes: programs, weights, data, predictions, logs",
        left_out_count=len(stored),
        why="entries name their digests; the run holds them",
    )
    yield Redaction(
        study=root,
        where="study secret",
        what="the secret, held-out answers and all that is derived from it",
        left_out_count=1,
        why="its hash alone is in the study root",
    )


def csv_bytes(name: str, rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a table as CSV: UTF-8, one head line, lines end in a line feed, an empty cell is a
    missing value.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns(TABLES[name]))
    for row in rows:
        writer.writerow(
            [{True: "true", False: "false"}[v] if isinstance(v, bool) else v for v in row]
        )
    return out.getvalue().encode()


def _parquet() -> Any:
    """Return the writer of Parquet, table by table; raises BadInput where its library is
    missing.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise BadInput(
            "Parquet needs pyarrow, which is not installed; `pip install -e '.[export]'`, or"
            " --csv-only"
        ) from None
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

    def write(name: str, rows: Sequence[Sequence[Any]]) -> bytes:
        meanings = {c.column: c.meaning for c in dictionary() if c.table == name}
        schema = pa.schema(
            [
                pa.field(column, kinds[kind], empty, {"meaning": meanings[column]})
                for column, (kind, empty) in columns(TABLES[name]).items()
            ]
        )
        values = list(zip(*rows, strict=True)) or [()] * len(schema)
        out = io.BytesIO()
        parquet.write_table(pa.table([list(column) for column in values], schema=schema), out)
        return out.getvalue()

    return write
