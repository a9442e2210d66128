"""How is an export written? `heirloop export RUN... --to DIR`: tidy tables beside their proof.

The proof is each ledger's entries, its signed heads, the public key in its study root, and a
manifest of every file. The study's key signs the manifest where its secret is at hand. Every table
is made from the entries as the export carries them, so no table can show a closed figure. Stored
bytes, seeds and the secret are never in it. It refuses a folder in use, a run with a broken record,
and the same run twice.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import BadInput, VerificationFailed
from loop.export import fill
from loop.export.cite import version
from loop.export.columns import cells, columns, shorten
from loop.export.dictionary import PACKAGE, dictionary, package
from loop.export.left_out import count_shown_otherwise, list_left_out, tell_shortened
from loop.export.manifest import DOMAIN, LARGE, file_name, unsigned_fields, write_manifest
from loop.export.redact import Carried, close_entries, lines
from loop.export.replicates import replicates
from loop.export.tables import TABLES
from loop.verify.heads import check_end, open_verified
from sandbox import keys
from sandbox.canonical import canonical
from sandbox.files import replace_file
from sandbox.foreign import LINES_BYTES, read_file
from sandbox.heads import places
from sandbox.keys import signer
from sandbox.ledger import Ledger

Cells = list[list[Any]]
"""Rows of a table as cells."""
MIRRORED = ("plans", "decisions", "instruments")
"""Tables that a tracker gets."""
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
"""Columns of plans that a mirror does not get.

Of confirm only the answer leaves a study for places outside it.
"""
README = """# An export of Heirloop
A row is an observation. `dictionary.csv` explains every column. `redactions.csv` lists every \
omission with its reason.
An empty cell is a missing value. Text is data: special characters made visible, cut at a limit, \
never to be run.
`entries-*.jsonl` are the ledgers, `heads-*.jsonl` their signed heads. `heirloop verify DIR` \
recomputes the tables from them.
`datapackage.json` is the dictionary for programs (Frictionless Data Package).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """A run, read and checked, with the bytes of its two files."""

    carried: Carried
    "its entries"
    entries: bytes
    "entries.jsonl"
    heads: bytes
    "signed heads, one JSON object a line"


def export(
    folders: Sequence[Path], to: Path, parquet: bool = True, lean: bool = False
) -> dict[str, Any]:
    """Write runs to a new or empty folder; return the counts of the rows.

    `lean` leaves out the ledgers and the tables of jobs and looks, which weigh most, and shortens
    the figures of single replicates; what stays rests on the signatures of the studies, so all of
    their secrets must be at hand.

    Raises BadInput for a folder in use, VerificationFailed for a broken ledger, and for a lean
    export without a secret.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"--to is {str(to)!r}, which holds something; name a new or empty folder")
    write_parquet = _parquet() if parquet else None
    runs = _read_runs(folders)
    tables = tabulate({root: run.carried for root, run in runs.items()}, lean)
    files = {"README.md": README.encode(), PACKAGE: package()}
    for name, rows in tables.items():
        files[f"{name}.csv"] = csv_bytes(columns(TABLES[name]), rows)
        if write_parquet:
            files[f"{name}.parquet"] = write_parquet(name, rows)
    for root, run in runs.items():
        files[file_name("entries", root)] = run.entries
        files[file_name("heads", root)] = run.heads
    left_out = _leave_out(runs, files) if lean else {}
    manifest = _manifest(runs, files, left_out)
    to.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        replace_file(to / name, data)
    # The manifest comes last: its existence means done.
    replace_file(to / "manifest.json", manifest)
    counts = {name: len(rows) for name, rows in tables.items()}
    return {"studies": len(runs), "files": len(files) + 1, **counts}


def _leave_out(runs: Mapping[str, RunFiles], files: dict[str, bytes]) -> dict[str, bytes]:
    """Take the largest files out; a run's first entry and its last signed head stay."""
    large = [name for name in files if name.partition(".")[0] in LARGE]
    for root, run in runs.items():
        large += [file_name("entries", root)]
        files[file_name("root", root)] = run.entries[: run.entries.index(b"\n") + 1]
        heads = run.heads.splitlines(keepends=True)
        files[file_name("heads", root)] = b"".join(heads[-1:])
    return {name: files.pop(name) for name in large}


def _read_runs(folders: Sequence[Path]) -> dict[str, RunFiles]:
    """Return study root -> run."""
    runs: dict[str, RunFiles] = {}
    for folder in folders:
        root, run = _read_run(folder)
        if root in runs:
            raise BadInput(f"{folder} is the study {root[:12]} once more; name each run once")
        runs[root] = run
    return runs


def _read_run(folder: Path) -> tuple[str, RunFiles]:
    ledger, signed = open_verified(folder, None)
    root = ledger.since(0)[0].hash
    copies = [read_file(path, LINES_BYTES) for path in places(folder, root) if path.is_file()]
    heads = max(copies, key=len, default=b"")
    # The entries are read after the heads: a run that goes on must not be behind its heads.
    entries = ledger.entries()
    last = max((max(sequences, default=0) for sequences in signed), default=0)
    check_end(folder, entries, last)
    carried = close_entries(entries)
    return root, RunFiles(carried=carried, entries=lines(ledger, carried), heads=heads)


def _manifest(
    runs: Mapping[str, RunFiles], files: Mapping[str, bytes], left_out: Mapping[str, bytes]
) -> bytes:
    fields = unsigned_fields(f"heirloop {version()}", list(runs), files, left_out)
    signatures = {}
    for root, run in runs.items():
        try:
            secret = keys.load_secret(run.carried.root.secret)
        except VerificationFailed:
            if left_out:
                raise
            continue  # somebody exports a copy, and does not hold the study
        signatures[root] = signer(secret).sign(DOMAIN + canonical(fields)).hex()
    return write_manifest(fields, signatures)


def tabulate(runs: Mapping[str, Carried], lean: bool = False) -> dict[str, Cells]:
    """Return every table of runs, by study root: name -> rows of cells.

    `lean` shortens the fractions of replicates.
    """
    rows: dict[str, list[Any]] = {name: [] for name in TABLES}
    for carried in runs.values():
        facts = carried.facts()
        rows["studies"].append(fill.study(carried, facts))
        rows["plans"] += fill.plans(carried, facts)
        rows["replicates"] += replicates(carried)
        rows["decisions"] += fill.decisions(carried)
        rows["jobs"] += fill.jobs(carried)
        rows["looks"] += fill.looks(carried)
        rows["incidents"] += fill.incidents(carried)
    ledgers = {root: carried.ledger() for root, carried in runs.items()}
    rows["instruments"] += fill.instruments(ledgers)
    for root, carried in runs.items():
        rows["redactions"] += list_left_out(root, file_name("entries", root), carried)
    rows["redactions"] += count_shown_otherwise(rows)
    if lean:
        rows["redactions"].append(tell_shortened(len(rows["replicates"])))
    rows["dictionary"] += dictionary()
    tables = {name: [cells(row) for row in each] for name, each in rows.items()}
    if lean:
        tables["replicates"] = [[shorten(cell) for cell in row] for row in tables["replicates"]]
    return tables


def mirror_tables(ledger: Ledger) -> dict[str, tuple[list[str], Cells]]:
    """Return tables of an ended study for a tracker: name -> (columns, rows).

    Figures of confirm of single plans are left out.
    """
    tables = tabulate({"": close_entries(ledger.entries())})
    mirror = {}
    for name in MIRRORED:
        head = list(columns(TABLES[name]))
        shown = [i for i, column in enumerate(head) if name != "plans" or column not in GATE]
        rows = [[row[i] for i in shown] for row in tables[name]]
        mirror[name] = ([head[i] for i in shown], rows)
    return mirror


def csv_bytes(head: Sequence[str] | Mapping[str, Any], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a table as CSV in UTF-8.

    It has a head line, its lines end in a line feed, and an empty cell is a missing value.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_plain_bool(value) for value in row])
    return out.getvalue().encode()


def _plain_bool(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _parquet() -> Callable[[str, Cells], bytes]:
    """Return the writer of Parquet, table by table; raises BadInput without its library."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise BadInput(
            "Parquet needs pyarrow, which is not installed; `pip install -e '.[export]'`, or"
            " --csv-only"
        ) from None
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

    def write(name: str, rows: Cells) -> bytes:
        schema = pa.schema(
            [
                pa.field(
                    column.name,
                    kinds[column.kind],
                    column.may_be_empty,
                    {"meaning": column.meaning},
                )
                for column in columns(TABLES[name]).values()
            ]
        )
        values = list(zip(*rows, strict=True)) or [()] * len(schema)
        out = io.BytesIO()
        parquet.write_table(pa.table([list(column) for column in values], schema=schema), out)
        return out.getvalue()

    return write
