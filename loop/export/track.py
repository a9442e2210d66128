"""Where is a study mirrored? A tracker is for people and is never read back.

`none` does nothing; wandb is optional, and offline by default. It runs in a process of its own with
a deadline, and can neither fail, delay, leak nor double a study.
"""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from configs.build import strict_json
from configs.errors import BadInput
from configs.settings.box import Tracker
from sandbox.canonical import digest
from sandbox.child import run_child
from sandbox.files import replace_file
from sandbox.foreign import LINES_BYTES, read_file

Tables = Mapping[str, tuple[list[str], list[list[Any]]]]
"""Name -> (columns, rows)."""
SECONDS = 120
"""Most time by the clock that a mirror takes at the end of a run."""
OUTPUT_BYTES = 1_000_000
"""Most that the tracker may print."""
CHILD = (Path(__file__).parent / "wandb_child.py").read_text()
"""The program that speaks to wandb."""
GIVEN = [
    "PATH",
    "LANG",
    "LC_ALL",
    "WANDB_API_KEY",
    "WANDB_BASE_URL",
    "WANDB_ENTITY",
    "HOME",
    "NETRC",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
]
"""Variables of this user that an online mirror may read; an offline mirror reads the first three.
"""
REASON = 300
"""Most characters of a reason."""


class MirrorError(Exception):
    """A tracker that did not mirror, with the reason."""


class Track(Protocol):
    """Where rounded, shown scores are mirrored, and the tables of an ended study."""

    def log(self, row: dict[str, Any]) -> None:
        """Mirror a row."""
        ...

    def tables(self, make: Callable[[], Tables]) -> None:
        """Mirror tables; `make` is called only where a tracker shows them."""
        ...

    def close(self) -> None:
        """Finish; raises MirrorError."""
        ...


class Null:
    """A tracker without effect."""

    def log(self, row: dict[str, Any]) -> None:
        """Do nothing."""

    def tables(self, make: Callable[[], Tables]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Wandb:
    """A wandb run of a study, resumed by an id that the study root gives."""

    def __init__(self, config: Tracker, study: str, folder: Path, root: str) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise BadInput(
                "tracker.kind is 'wandb', and wandb is not installed; `pip install -e '.[trusted]'`"
                " or tracker=none"
            )
        self._study, self._mode, self._name = study, config.mode, root[:32]
        self._place = folder / "wandb"
        self._rows: list[dict[str, Any]] = []
        self._tables: dict[str, Any] = {}

    def log(self, row: dict[str, Any]) -> None:
        """Note a row."""
        self._rows.append(row)

    def tables(self, make: Callable[[], Tables]) -> None:
        """Note each table."""
        self._tables = dict(make())

    def close(self) -> None:
        """Send what is new to wandb, and remember that it was sent."""
        sent = self._read_sent()
        new = [row for row in self._rows if _digest(row) not in sent["rows"]]
        tables = _digest(self._tables)
        if not new and tables == sent["tables"]:
            return
        whole = self._mode == "offline"  # a folder holds the whole run and takes its place
        with tempfile.TemporaryDirectory(prefix="heirloop-") as folder:
            self._run(Path(folder), self._rows if whole else new)
            self._place.mkdir(exist_ok=True)
            if whole:
                self._keep(Path(folder) / "wandb")
        names = [_digest(row) for row in self._rows]
        text = json.dumps({"mode": self._mode, "rows": names, "tables": tables})
        replace_file(self._place / "mirrored.json", text)

    def _read_sent(self) -> dict[str, Any]:
        """Return what was mirrored before: digests of the rows, and of the tables."""
        try:
            sent = strict_json(read_file(self._place / "mirrored.json", LINES_BYTES), LINES_BYTES)
            if sent["mode"] == self._mode:
                return {"rows": set(sent["rows"]), "tables": sent["tables"]}
        except (OSError, BadInput, KeyError, TypeError):
            pass  # it is sent again
        return {"rows": set(), "tables": _digest({})}

    def _run(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        call = {
            "study": self._study,
            "id": self._name,
            "mode": self._mode,
            "folder": str(folder),
            "rows": rows,
            "tables": self._tables,
        }
        ended = run_child(
            [sys.executable, "-I", "-c", CHILD],
            json.dumps(call).encode(),
            seconds=SECONDS,
            output=OUTPUT_BYTES,
            errors=OUTPUT_BYTES,
            environment=_environment(folder, self._mode == "online"),
            folder=str(folder),
        )
        if ended.limit:
            raise MirrorError(f"it {ended.limit}")
        if ended.code:
            lines = ended.errors.decode(errors="replace").strip().splitlines()
            raise MirrorError((lines or [f"exit {ended.code}"])[-1])

    def _keep(self, made: Path) -> None:
        """Put the new offline run in the place of those before it."""
        new = {path.name for path in made.glob("offline-run-*")}
        if not new:
            raise MirrorError("it wrote no offline run")
        for name in new:
            shutil.move(made / name, self._place / name)
        for path in self._place.glob(f"offline-run-*-{self._name}"):
            if path.name not in new:
                shutil.rmtree(path)


def _digest(value: Any) -> str:
    return digest(json.dumps(value, sort_keys=True).encode())


def _environment(folder: Path, online: bool) -> dict[str, str]:
    """Return the child's environment: every folder in which wandb looks for settings is empty."""
    given = {
        name: os.environ[name] for name in GIVEN[: None if online else 3] if name in os.environ
    }
    own = {f"WANDB_{name}_DIR": str(folder) for name in ("CONFIG", "CACHE", "DATA", "ARTIFACT")}
    fixed = {"WANDB_ERROR_REPORTING": "false", "TMPDIR": str(folder)}
    return {"HOME": str(folder), **given, **own, **fixed}


def make(config: Tracker, study: str, folder: Path, root: str) -> Track:
    """Return the tracker of the configuration."""
    return Wandb(config, study, folder, root) if config.kind == "wandb" else Null()


def mirror(track: Track, rows: Iterable[dict[str, Any]], tables: Callable[[], Tables]) -> str:
    """Mirror rows and tables; return the reason for a failure, which never is the study's."""
    try:
        for row in rows:
            track.log(row)
        track.tables(tables)
        track.close()
    except Exception as error:
        reason = str(error) if isinstance(error, MirrorError) else repr(error)
        line = " ".join(reason.split())[:REASON]
        return f"the study is recorded, and its mirror failed: {line}; the same command tries again"
    return ""
