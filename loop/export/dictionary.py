"""How are the columns explained? By dictionary.csv and datapackage.json.

datapackage.json is the same in a standard form (Frictionless Data Package, Table Schema).
Programs read the tables by it, with their types.
"""

import inspect
import json
from collections.abc import Iterable
from typing import Any

from loop.export.columns import columns
from loop.export.tables import TABLES, DictionaryRow

UNITS = {
    "_us": "microseconds",
    "_bytes": "bytes",
    "_utc": "UTC, ISO 8601",
    "_unix_seconds": "seconds since 1970",
    "_seconds": "seconds",
    "_milliseconds": "milliseconds",
    "_share": "share, 0 to 1",
    "_count": "count",
    "_metric": "the objective's (studies.metric and scale)",
    "_micros": "millionths of the study's currency",
    "_nats": "nats",
    "_bits": "bits",
    "_log_odds": "log-odds",
    "_p": "probability",
    "_json": "JSON",
    "_text": "text, made visible and clipped",
}
"""Ending of a column -> its unit; an integer without one is a number that orders or names."""
TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
"""Kind of a column -> its type in a Table Schema."""
PACKAGE = "datapackage.json"
Field = tuple[str, bool, str]
"""Type, whether a cell may be empty, meaning."""


def unit(column: str) -> str | None:
    """Return the unit at the end of a column's name; the longest ending counts."""
    endings = [ending for ending in UNITS if column.endswith(ending)]
    return UNITS[max(endings, key=len)] if endings else None


def dictionary() -> list[DictionaryRow]:
    """Return the data dictionary: every column of every table."""
    return [
        DictionaryRow(
            table=table,
            column=column.name,
            kind=column.kind.__name__,
            unit=unit(column.name),
            may_be_empty=column.may_be_empty,
            meaning=column.meaning,
        )
        for table, row in TABLES.items()
        for column in columns(row).values()
    ]


def package() -> bytes:
    """Return datapackage.json."""
    rows = dictionary()
    whole = {
        "profile": "tabular-data-package",
        "name": "heirloop-export",
        "resources": [
            _resource(name, [row for row in rows if row.table == name]) for name in TABLES
        ],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False).encode() + b"\n"


def _resource(table: str, rows: Iterable[DictionaryRow]) -> dict[str, Any]:
    schema: dict[str, Any] = {"fields": [_field(row) for row in rows], "missingValues": [""]}
    if table == "studies":
        schema["primaryKey"] = "study"
    elif "study" in columns(TABLES[table]):
        reference = {"resource": "studies", "fields": "study"}
        schema["foreignKeys"] = [{"fields": "study", "reference": reference}]
    return {
        "profile": "tabular-data-resource",
        "name": table,
        "path": f"{table}.csv",
        "description": inspect.cleandoc(TABLES[table].__doc__ or "").replace("\n", " "),
        "format": "csv",
        "encoding": "utf-8",
        "dialect": {"lineTerminator": "\n"},
        "schema": schema,
    }


def _field(row: DictionaryRow) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": row.column,
        "type": TYPES[row.kind],
        "description": row.meaning,
    }
    if row.unit:
        described["unit"] = row.unit
    if not row.may_be_empty:
        described["constraints"] = {"required": True}
    return described


def read_package(data: bytes) -> dict[tuple[str, str], Field]:
    """Return (table, column) -> field of a datapackage.json; raises ValueError for another file."""
    described: dict[tuple[str, str], Field] = {}
    try:
        for resource in json.loads(data)["resources"]:
            for each in resource["schema"]["fields"]:
                empty = not each.get("constraints", {}).get("required", False)
                name = (resource["name"], each["name"])
                described[name] = (each["type"], empty, each["description"])
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("no data package") from None
    return described
