"""Files of recorded trainings: `tab/NAME-v1.parquet`, a row per training (docs/table.md).

The settings of the task, the levels and the code that trained stand in the file's metadata, with a
digest of all rows. `read_table` refuses a file whose rows are others, or that is cut short.
"""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import parse, plain
from configs.errors import BadInput
from configs.recipe import Recipe, knob_values
from configs.settings.task import TaskSetup
from evals.table import Row, Table, World
from loop.plan import BOX_WORDS, ROOT

KEY = b"heirloop table"
"""Key of a table's metadata in its file."""
FORMAT = 1
DECIDING = (
    *(f"models/{name}.py" for name in ("net", "predict", "train")),
    *(f"configs/{name}.py" for name in BOX_WORDS),
    *(f"evals/{name}.py" for name in ("data", "folds", "text")),
)
"""Sources that decide a training, its data, or its predictions."""
PLAIN_COLUMNS = (
    "level",
    "number",
    "seed",
    "failure",
    "steps",
    "cpu_us",
    "startup_cpu_us",
    "predict_cpu_us",
    "peak_bytes",
    "weights",
)
"""Columns of a row beside the knobs and the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The metadata of a table's file."""

    format: int
    "format of the file"
    name: str
    "name and version of the table"
    task: TaskSetup
    "settings of the task that was trained"
    levels: tuple[float, ...]
    "compute levels, as multiples of the planned compute"
    folds: int
    "folds of each row"
    slices: tuple[str, ...]
    "slices of each row, after its folds"
    code: str
    "stamp of the code that trained"
    design: str
    "digest of the design, which says what is trained"
    complete: bool
    "whether every training of the design is there"
    rows: str
    "digest of all rows"


def stamp_code() -> str:
    """Return the digest of the code that decides a training; comments and docstrings are not in
    it.
    """
    whole = hashlib.sha256()
    for name in DECIDING:
        tree = ast.parse((ROOT / name).read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                kept = [part for part in body if not _is_text(part)]
                node.body = kept  # type: ignore[attr-defined]
        whole.update(f"{name}\n{ast.dump(tree)}\n".encode())
    return whole.hexdigest()


def _is_text(node: ast.AST) -> bool:
    """Tell whether a statement is a string alone: a docstring, or the meaning of a field."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def secret_of(name: str) -> bytes:
    """Return the secret that deals the text's blocks in a table's trainings; anybody can make it.

    `name` is that of the table with its version, such as text-v1.
    """
    return hashlib.sha256(f"heirloop table:{name}".encode()).digest()


def write_table(table: Table, path: Path) -> str:
    """Write a table as a file, whole or not at all; return its sha256."""
    import pyarrow  # of the extra `export`
    import pyarrow.parquet

    columns = _to_columns(table)
    about = About(
        format=FORMAT,
        name=table.name,
        task=replace(table.task, table="", table_digest="", folds=0),
        levels=table.levels,
        folds=table.folds,
        slices=table.slices,
        code=table.code,
        design=table.design,
        complete=table.complete,
        rows=_digest(columns),
    )
    data = {name: values.tolist() for name, values in columns.items()}
    types = {"bits": pyarrow.list_(pyarrow.float32())}
    arrays = {name: pyarrow.array(values, types.get(name)) for name, values in data.items()}
    whole = pyarrow.table(arrays).replace_schema_metadata({KEY: json.dumps(plain(about)).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    pyarrow.parquet.write_table(whole, part, compression="zstd")
    part.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest_file(path: str) -> str:
    """Return the sha256 of a table's file; raise BadInput without one."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise BadInput(
            f"task.table is {path!r} and cannot be read ({error.strerror}); `heirloop tab build"
            " NAME` makes one"
        ) from None


def read_about(path: str) -> About:
    """Return the metadata of a table's file; raise BadInput for a file that is no whole table."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        if KEY not in metadata:
            raise BadInput("its metadata names no table")
        about = parse(About, json.loads(metadata[KEY]))
    except (pyarrow.ArrowInvalid, OSError, ValueError, BadInput) as error:
        raise _no_table(path, error) from None
    if about.format != FORMAT:
        raise BadInput(f"table {path} has format {about.format}; this version reads {FORMAT}")
    return about


def _no_table(path: str, why: object) -> BadInput:
    reason = " ".join(str(why).split())[:120]
    return BadInput(f"table {path} is no whole table: {reason}")


def read_table(path: str) -> Table:
    """Return the table of a file; raise BadInput for a file that is cut short or was changed."""
    read_about(path)  # its sentence, for a file that is no table
    return _read_table(path, digest_file(path))


@lru_cache(maxsize=2)
def _read_table(path: str, digest: str) -> Table:
    import pyarrow
    import pyarrow.parquet

    about = read_about(path)
    try:
        data = pyarrow.parquet.read_table(path).to_pydict()
        _need_columns(about.task, data)
        table = Table(
            name=about.name,
            task=about.task,
            levels=about.levels,
            folds=about.folds,
            slices=about.slices,
            code=about.code,
            design=about.design,
            complete=about.complete,
            rows=_from_columns(about.task, data),
        )
        now = _digest(_to_columns(table))
    except (pyarrow.ArrowInvalid, OSError, BadInput) as error:
        raise _no_table(path, error) from None
    except (TypeError, ValueError):
        raise _no_table(path, "a cell is of another kind than its column") from None
    if now != about.rows:
        raise BadInput(
            f"table {path} holds other rows ({now[:12]}) than it was written with"
            f" ({about.rows[:12]}); take a fresh copy"
        )
    return table


def _need_columns(task: TaskSetup, data: Mapping[str, object]) -> None:
    """Raise BadInput unless the columns are those of a table over the task's grid."""
    wanted = {*(task.grid or {}), *PLAIN_COLUMNS, "bits"}
    lacking, more = ", ".join(sorted(wanted - data.keys())), ", ".join(sorted(data.keys() - wanted))
    if lacking:
        raise BadInput(f"it lacks the column {lacking}")
    if more:
        raise BadInput(f"it has the column {more}, which no table of this grid has")


def _to_columns(table: Table) -> dict[str, np.ndarray[Any, Any]]:
    """Return the columns of a table: a knob of the grid each, plain columns, and scores."""
    grid, rows = table.task.grid or {}, table.rows
    columns = {name: np.array([getattr(row.recipe, name) for row in rows]) for name in grid}
    columns |= {name: np.array([getattr(row, name) for row in rows]) for name in PLAIN_COLUMNS}
    bits = np.empty(len(rows), object)
    for number, row in enumerate(rows):
        bits[number] = np.array(row.bits, np.float32).tolist()
    return columns | {"bits": bits}


def _from_columns(task: TaskSetup, data: dict[str, list[Any]]) -> tuple[Row, ...]:
    grid, base = task.grid or {}, plain(task.baseline)
    recipes: dict[tuple[Any, ...], Recipe] = {}
    rows = []
    for number, bits in enumerate(data["bits"]):
        values = tuple(data[name][number] for name in grid)
        if values not in recipes:
            recipes[values] = Recipe(**{**base, **dict(zip(grid, values, strict=True))})
        given = {name: data[name][number] for name in PLAIN_COLUMNS}
        rows.append(Row(recipe=recipes[values], bits=tuple(bits), **given))
    return tuple(rows)


def _digest(columns: dict[str, np.ndarray[Any, Any]]) -> str:
    """Return the sha256 of all rows; it does not depend on the file's compression."""
    whole = hashlib.sha256()
    for name, values in sorted(columns.items()):
        rows = values.tolist()  # a line each; numbers and texts are written at once
        at_once = json.dumps(rows, separators=("\n", ":"))[1:-1]
        each = map(json.dumps, rows) if values.dtype == object else (at_once,)
        whole.update("\n".join([name, *each, ""]).encode())
    return whole.hexdigest()


def fill_in(settings: dict[str, Any]) -> dict[str, Any]:
    """Return composed settings of a task, filled in from the table that they name.

    Given knobs of `baseline` and `fixed` take the place of the table's baseline. Raises BadInput
    for another task than the table's, and for a baseline of which the table has no training.
    """
    path, pinned = str(settings["table"]), settings.get("table_digest")
    digest = digest_file(path)
    if pinned and pinned != digest:
        raise BadInput(
            f"task.table {path} is {digest[:12]} and {str(pinned)[:12]} is pinned; restore it, or"
            " choose another study.name"
        )
    about = read_about(path)
    if settings["name"] != about.task.name:
        raise BadInput(
            f"task.name is {settings['name']}; table {path} is of task {about.task.name}"
        )
    own = {"table": path, "table_digest": digest, "folds": about.folds}
    filled = {**plain(about.task), **own, "held_out": about.folds // 3}
    fixed, given = settings.get("fixed") or {}, settings.get("baseline") or {}
    if fixed:
        filled["fixed"] = fixed
    # Pinned settings are whole: a study that began without a best score goes on without it.
    best = settings.get("best_known") if pinned else _best_score(path, digest, json.dumps(fixed))
    if best is not None:
        filled["best_known"] = best
    # A pinned baseline is whole: a knob that it leaves out has its default, not the table's value.
    first = {} if pinned and given else {**knob_values(about.task.baseline), **fixed}
    return {**filled, "baseline": _place_baseline(path, about.task, {**first, **given})}


@lru_cache(maxsize=8)
def _best_score(path: str, digest: str, fixed: str) -> float | None:
    """Return the true bits of the best recipe of a table, or of the part with the fixed knobs."""
    world = World(read_table(path))
    try:
        return world.within(json.loads(fixed)).best()[1]
    except (TypeError, ValueError):
        return None  # no such part, which is refused later, or none of its recipes has a score


def _place_baseline(path: str, task: TaskSetup, given: dict[str, Any]) -> dict[str, Any]:
    """Return a study's baseline; raise BadInput unless the table has trainings of it."""
    base, wanted = knob_values(task.baseline), parse(Recipe, given, "task.baseline")
    for name, value in knob_values(wanted).items():
        listed = (task.grid or {}).get(name, (base[name],))
        if value not in listed:
            raise BadInput(
                f"task.baseline.{name} is {value}; table {path} has trainings with"
                f" {', '.join(map(str, listed))} alone"
            )
    return dict(plain(wanted))


def need_same(task: TaskSetup) -> None:
    """Raise BadInput where a study's table is not the pinned file any more."""
    if task.table and digest_file(task.table) != task.table_digest:
        raise BadInput(
            f"task.table {task.table} changed since the study began ({task.table_digest[:12]} is"
            " pinned); restore it, or choose another study.name"
        )


def bits_as_written(values: Sequence[float]) -> tuple[float, ...]:
    """Return scores as the file holds them, in 32 bits each."""
    return tuple(float(np.float32(value)) for value in values)
