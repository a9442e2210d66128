"""From Python: run a study, open a run, read its tables as data frames.

Example: `read_tables(run_study(["study=planted"], unattended=True))["plans"]`. docs/python.md is a
notebook. Nothing here has a power that `heirloop run` lacks: every gate and every budget holds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.types import Quote, QuotedString

from configs.errors import BadInput
from configs.settings.config import Config
from loop.export.columns import Column, columns
from loop.export.redact import close_entries
from loop.export.tables import TABLES
from loop.export.write import Cells, tabulate
from loop.facts.facts import fold_entries
from loop.facts.summary import make_summary
from loop.people.requests import open_gate
from loop.people.sign import sign_unattended
from loop.report import make
from loop.session import execute
from loop.settings import compose_settings
from loop.study.open import release_locks
from loop.study.root import config_at, read_config
from loop.verify.heads import open_verified
from sandbox.address import has_ledger

Settings = Sequence[str] | Mapping[str, object]
"""Overrides as `heirloop run` takes them, or field -> value."""
Library = Literal["pandas", "pyarrow", "lists"]
"""Kind of a table: pandas.DataFrame, pyarrow.Table, or column -> list of values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as it stood when it was opened."""

    folder: Path
    "folder of the run"
    root: str
    "digest of the study root"
    config: Config
    "settings in force"
    summary: dict[str, Any]
    "content of summary.json"


def run_study(settings: Settings, *, unattended: bool = False) -> RunView:
    """Run a study, or go on with it, and draw its report; return the run.

    With `unattended` a mandate is signed first, as `heirloop mandate grant --unattended` does.
    Raises the reason for stopping, a HeirloopError: NeedsHuman where people must decide, for
    example. All records stay, and the same call goes on from there.
    """
    config = compose_settings(write_overrides(settings))
    folder = Path(config.runs) / config.study.name
    if unattended:
        exists = has_ledger(folder)
        sign_unattended(config, open_gate(folder).memory.rules.version if exists else 1)
    try:
        execute(config, make.publish)
    finally:
        # Another process may go on with it while this one lives: a notebook stays open for days.
        release_locks(str(folder))
    return open_run(folder)


def open_run(folder: str | Path) -> RunView:
    """Open a run for reading, with its chain and its signed heads checked.

    Raises VerificationFailed where they do not hold. `heirloop verify` recomputes all the rest.
    """
    ledger, _ = open_verified(Path(folder), None)
    try:
        entries = ledger.entries()
        return RunView(
            folder=Path(folder),
            root=ledger.root(),
            config=config_at(read_config(ledger), Path(folder)),
            summary=make_summary(ledger, fold_entries(entries)),
        )
    finally:
        ledger.close()


def read_tables(*runs: RunView, library: Library = "pandas") -> dict[str, Any]:
    """Return the tables of runs, by name, as data frames.

    They are the tables of `heirloop export` (docs/export.md), with the same figures closed until a
    study ends. Raises BadInput for a run named twice, and without the library.
    """
    make_frame = _frame_maker(library)
    carried = {run.root: close_entries(_read_entries(run)) for run in runs}
    if len(carried) < len(runs):
        raise BadInput("a run is named twice; name each run once")
    return {
        name: make_frame(columns(TABLES[name]), rows) for name, rows in tabulate(carried).items()
    }


def _read_entries(run: RunView) -> list[Any]:
    ledger, _ = open_verified(run.folder, None)
    try:
        return ledger.entries()
    finally:
        ledger.close()


def write_overrides(settings: Settings) -> list[str]:
    """Return settings as overrides; values of a mapping are quoted as Hydra reads them."""
    if isinstance(settings, str):
        raise BadInput(f"settings is the text {settings!r}; it should be a list or a dict")
    if isinstance(settings, Mapping):
        return [f"{field}={_write_value(value)}" for field, value in settings.items()]
    return list(settings)


def _write_value(value: object) -> str:
    """Return a value as Hydra reads it: a text is quoted, so that 'null' stays a text."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str | Path):
        return str(QuotedString(text=str(value), quote=Quote.single).with_quotes())
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_write_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_write_value, value)) + "]"
    return repr(value)


Frame = Callable[[Mapping[str, Column], Cells], Any]
"""Make a data frame from columns and rows."""


def _frame_maker(library: Library) -> Frame:
    """Return the maker of data frames; raises BadInput for an unknown or missing library."""
    makers: dict[str, Callable[[], Frame]] = {
        "pandas": _with_pandas,
        "pyarrow": _with_pyarrow,
        "lists": lambda: _as_lists,
    }
    if library not in makers:
        raise BadInput(f"library is {library!r}; it should be one of {', '.join(makers)}")
    try:
        return makers[library]()
    except ImportError:
        raise BadInput(
            f"{library} is not installed; `pip install {library}`, or library='lists' for plain"
            " lists"
        ) from None


def _as_lists(head: Mapping[str, Column], rows: Cells) -> dict[str, list[Any]]:
    return {name: [row[number] for row in rows] for number, name in enumerate(head)}


def _with_pandas() -> Frame:
    import pandas as pd

    # Types with room for a missing value: an empty cell of whole numbers stays whole numbers.
    kinds = {str: "string", int: "Int64", float: "Float64", bool: "boolean"}

    def make_frame(head: Mapping[str, Column], rows: Cells) -> Any:
        lists = _as_lists(head, rows)
        return pd.DataFrame(
            {name: pd.array(lists[name], dtype=kinds[head[name].kind]) for name in head}
        )

    return make_frame


def _with_pyarrow() -> Frame:
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}

    def make_frame(head: Mapping[str, Column], rows: Cells) -> Any:
        lists = _as_lists(head, rows)
        return pa.table({name: pa.array(lists[name], kinds[head[name].kind]) for name in head})

    return make_frame
