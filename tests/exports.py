"""Read and change the files of an export, as somebody without the key would."""

import csv
import json

from loop.export.write import csv_bytes
from sandbox.canonical import canonical, digest
from sandbox.ledger import Ledger


def read_rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_entries(folder):
    return Ledger.at(folder).entries()


def fit_manifest(folder, *, signed=None):
    """Make the manifest fit the files, as somebody without the key would: unsigned, or with a
    signature that somebody gave.
    """
    fields = json.loads((folder / "manifest.json").read_bytes())
    fields["files"] = {name: digest((folder / name).read_bytes()) for name in fields["files"]}
    (folder / "manifest.json").write_bytes(canonical({**fields, "signatures": signed or {}}))


def flip_bit(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def change_cell(folder, table, column, cell):
    """Change the first cell of a column, and fit the manifest to it."""
    path = folder / f"{table}.csv"
    with path.open(newline="") as file:
        head, *lines = csv.reader(file)
    lines[0][head.index(column)] = cell
    path.write_bytes(csv_bytes(head, lines))
    fit_manifest(folder)


def drop_column(folder, table, column):
    path = folder / f"{table}.csv"
    with path.open(newline="") as file:
        head, *lines = csv.reader(file)
    at = head.index(column)
    path.write_bytes(csv_bytes(head[:at] + head[at + 1 :], [r[:at] + r[at + 1 :] for r in lines]))
    fit_manifest(folder)


def read_text(out):
    """Every byte of an export that can be read as text; Parquet holds the same cells, in its own
    coding.
    """
    return b"".join(p.read_bytes() for p in out.iterdir() if p.suffix != ".parquet").decode()
