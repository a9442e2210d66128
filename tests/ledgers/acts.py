"""Help `record.py`: a box that computes nothing, people at a terminal, an archive.

It runs on the code of tag v1 alone.
"""

import io
import json
import lzma
import os
import sqlite3
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from safetensors.numpy import load, save

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE.parent / "loop")]

from fakes import FakeBox  # noqa: E402
from loop.cli import cli  # noqa: E402

from configs.errors import HeirloopError  # noqa: E402
from configs.job import Order, Outcome  # noqa: E402
from loop import main, study, terminal  # noqa: E402
from loop.people import open_gate  # noqa: E402
from sandbox.box.base import Box, Execution  # noqa: E402

PASSPHRASE = "correct horse"
SMALL = ("task.held_out=100", "task.train_items=100", "study.generations=2", "study.proposals=2")
PAIRS = ("study.confirm_replicates=8", "study.final_replicates=4")
UNNEEDED = ("lock", "report.html", "report.json", "ledger.sqlite-shm", "ledger.sqlite-wal")
Script = Callable[[Execution], Outcome | None]
GAINS = {("depth", 3): 0.3, ("width", 96): 0.3, ("batch_size", 128): 0.25, ("depth", 1): -0.05}
"""Share of right answers that a changed knob adds in the box that computes nothing."""


def quality(order: Order) -> float:
    """Return the share of right answers that a recipe gives."""
    changed = [knob for knob in GAINS if getattr(order.recipe, knob[0]) == knob[1]]
    return min(0.95, 0.1 + sum(GAINS[knob] for knob in changed))


class Fake(FakeBox):
    """A box that computes nothing, whose weights repeat 64 numbers, so that they pack well."""

    def __init__(self, script: Script = lambda _: None) -> None:
        super().__init__(quality, script)

    def run(self, execution: Execution) -> Outcome:
        """Run one job."""
        result = super().run(execution)
        if "weights.safetensors" in result.files:
            drawn = load(result.files["weights.safetensors"])["w"]
            result.files["weights.safetensors"] = save({"w": np.resize(drawn[:64], drawn.shape)})
        return result


def heirloop(*words: str, typed: str = "") -> str:
    """Call a verb of the command line as a person at a terminal; return its output."""
    result = CliRunner().invoke(cli, list(words), input=typed)
    if result.exception:
        raise result.exception
    return result.stdout


def at_terminal() -> None:
    """Let the verbs believe that a person types; the six characters need no typing."""
    terminal.at_terminal = lambda: True
    terminal.confirmed = lambda what, name: None


def run(box: Box | None, *settings: str) -> HeirloopError | None:
    """Run a study, in a real box where none is given; return the error that ended it, if any."""
    try:
        with in_box(box):
            main.execute(main.composed(settings))
    except HeirloopError as error:
        print(f"  {error}")
        return error
    return None


@contextmanager
def in_box(box: Box | None) -> Iterator[None]:
    """Let studies run in this box, a real one for None; release their locks at the end."""
    before = study.make_box
    if box is not None:
        study.make_box = lambda _: box
    try:
        yield
    finally:
        study.make_box = before
        for lock in study._LOCKS:
            lock.close()
        study._LOCKS.clear()


def finish(box: Box | None, *settings: str) -> None:
    """Run a study to its end."""
    error = run(box, *settings)
    if error is not None:
        raise error


def key(name: str, kind: str = "person") -> None:
    """Make a reviewer's key."""
    heirloop("keys", "new", name, "--kind", kind, typed=f"{PASSPHRASE}\n{PASSPHRASE}\n")


def mandate(name: str, *settings: str) -> None:
    """Sign a person's mandate."""
    caps = ("--jobs", "400", "--cpu-seconds", "800", "--hours", "24")
    heirloop("mandate", "grant", "--key", name, *caps, *settings, typed=f"{PASSPHRASE}\n")


def decide(folder: str, answer: str, name: str, subject: str, what: str, why: str = "") -> None:
    """Sign a decision on a subject and hand it in."""
    words = (answer, subject, "--run", folder, "--key", name, "--as", what)
    heirloop(*words, "--reason", why or f"I {answer} it", typed=f"{PASSPHRASE}\n")


def decide_elsewhere(folder: str, name: str, subject: str, what: str, forged: bool = False) -> None:
    """Sign a yes into a file, and hand the file in."""
    words = ("approve", subject, "--run", folder, "--key", name, "--as", what, "--reason", "fine")
    heirloop(*words, "--out", "signed.json", typed=f"{PASSPHRASE}\n")
    if forged:
        envelope = json.loads(Path("signed.json").read_bytes())
        envelope["signatures"][0]["sig"] = "AAAA" + envelope["signatures"][0]["sig"][4:]
        Path("signed.json").write_text(json.dumps(envelope))
    heirloop("decide", "signed.json", "--run", folder)


def waiting(folder: str) -> list[tuple[str, str, str]]:
    """Return (subject, class, claimed reason) of the requests that wait."""
    rows = json.loads(heirloop("pending", folder, "--json"))
    return [(row["plan"], row["class"], row["claimed reason"]) for row in rows]


def bodies(folder: str, kind: str) -> list[dict[str, Any]]:
    """Return the bodies of a run's entries of one kind."""
    return [e.body for e in open_gate(Path(folder)).ledger.entries() if e.kind == kind]


def export(to: str, *runs: str, parquet: bool = False) -> None:
    """Export runs into `exports/`."""
    heirloop("export", *runs, "--to", f"exports/{to}", *([] if parquet else ["--csv-only"]))


@contextmanager
def refused(word: str) -> Iterator[None]:
    """Expect a refusal whose sentence holds this word."""
    try:
        yield
    except HeirloopError as error:
        assert word in str(error), error
        print(f"  {error}")
    else:
        raise AssertionError(f"nothing was refused: {word}")


def tidy(work: Path) -> None:
    """Leave in a folder what the test needs: no locks, no private keys, no journal of SQLite."""
    for path in work.glob("runs/*/ledger.sqlite"):
        book = sqlite3.connect(path)
        book.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        book.close()
    for path in sorted(work.rglob("*")):
        if path.suffix in (".key", ".lock") or path.name in UNNEEDED:
            path.unlink(missing_ok=True)
    for path in [*work.glob("home/addresses.json"), *work.glob("*.json"), *work.glob("*.py")]:
        path.unlink()


def pack(work: Path, to: Path) -> None:
    """Write a folder as .tar.xz, sorted and without owners and times: its files fix its bytes."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(p for p in work.rglob("*") if p.is_file()):
            entry = tarfile.TarInfo(str(path.relative_to(work)))
            entry.size = path.stat().st_size
            entry.mode = 0o600 if "secrets" in path.parts else 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)
    to.write_bytes(lzma.compress(data.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{to.name}: {os.path.getsize(to):,} bytes")
