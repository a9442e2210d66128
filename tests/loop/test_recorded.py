"""Runs and exports of an earlier version load, verify and report for ever.

The archives lie in `tests/ledgers/`, and its README says how each was made.
This file names no module of ours: modules move, recorded bytes do not.
"""

import json
import math
import re
import shutil
import sqlite3
import sys
import tarfile
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from importlib.metadata import entry_points
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest

ARCHIVES = Path(__file__).resolve().parents[1] / "ledgers"
NAMES = ("boxed", "closed", "orders", "outside", "people", "planted")
# fmt: off
KINDS = {
    "study", "account", "questions", "mandate", "approval", "request", "decision", "probe", "plan",
    "invalid", "grant", "data", "reserve", "start", "settle", "job", "score", "look", "verdict",
    "warning", "champion", "campaign-end", "opening", "pause", "replay", "session", "end",
    "control", "drill", "incident", "incident-amended", "recall", "deploy", "amendment", "amended",
    "limit", "notice", "acknowledgement", "compute", "notebook", "history", "call", "answer",
    "handed", "used-up",
}
# fmt: on
"""Every kind of entry that docs/ledger.md of that version lists."""
REASONS = {"probe", "score", "sealed", "seed", "verdict"}
"""Every reason for which an export of that version closes an entry."""
FAILED = 6
"""Exit code of a failed verification."""
CLOSE = 1e-9
"""Relative difference that a figure may have on another machine, whose last bits differ."""


def heirloop(*words):
    """Call the installed command within this process; return its exit code and its output."""
    (command,) = entry_points(group="console_scripts", name="heirloop")
    shown, complained = StringIO(), StringIO()
    arguments, sys.argv = sys.argv, ["heirloop", *map(str, words)]
    try:
        with redirect_stdout(shown), redirect_stderr(complained):
            command.load()()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = arguments
    return code, shown.getvalue() + complained.getvalue()


def answer(*words):
    """Return the JSON that a verb prints."""
    code, text = heirloop(*words, "--json")
    assert code == 0, text
    return json.loads(text)


def figures(folder):
    """Return all that the command line says about the runs and exports of an unpacked archive."""
    runs = sorted(path for path in (folder / "runs").iterdir() if path.is_dir())
    exports = sorted((folder / "exports").iterdir())
    return {
        "runs": {path.name: figures_of(path) for path in runs},
        "exports": {path.name: export_of(path) for path in exports},
        "together": answer("instruments", *runs) if len(runs) > 1 else None,
    }


def figures_of(run):
    """Return the figures of one run; its summary and report are written anew."""
    code, text = heirloop("report", run)
    assert code == 0, text
    page = (run / "report.html").read_text()
    return {
        "verify": named(answer("verify", run)),
        "status": named(answer("status", run)),
        "plans": answer("plans", run),
        "instruments": answer("instruments", run),
        "incidents": answer("incident", "list", run),
        "summary": json.loads((run / "summary.json").read_bytes()),
        "tables": numbers(json.loads((run / "report.json").read_bytes())),
        "page": {mark: page.count(f"<{mark}") for mark in ("table", "svg", "h2", "h3")},
    }


def export_of(export):
    """Return the counts of a verified export."""
    return named(answer("verify", export))


def named(rows):
    """Return rows of two cells as name -> value."""
    return dict(row.values() for row in rows)


def numbers(report):
    """Return a report's tables: section, name and study -> the numbers of each row, no words."""
    tables = {}
    for section in report["sections"]:
        for table in section["tables"]:
            name = "/".join((section["name"], table["name"], table["study"]))
            tables[name] = [[cell for cell in row if is_number(cell)] for row in table["rows"]]
    return tables


def is_number(cell):
    return isinstance(cell, int | float)


CHANGED = {
    r"/exports/[^/]+/instruments": "the instruments have a third edition (loop/export/manifest.py)",
    r"/calibration/": "since 2026-11-29 over all screened plans, not over accepted ones alone",
    r"/promise/[^/]+/(low|high|word): .* became (None|not exercised)": "no plan ended so",
    r"/tables/happened/promise/.*became None": "the same",
    r"/conditions/0/figure/unit": "since 2026-11-29 the own effect stands for kappa",
    r"/(automation|beside/[^/]+)/[^/]+/(low: .* became 1.0|word:  became constant)$": (
        "since 2026-11-29 a constant"
    ),
    r"/tables/happened/automation/.*/1: .* became 1.0": "the same",
    r"/provenance/(low|high|word)": "since 2026-11-29 a constant where one author proposes",
    r"/tables/(un)?believed/figures/.* became [01].0$": "the same",
    r"/tables/(un)?believed/figures/: ": "the same, in a list that has new rows between",
    r"/word: cannot tell became saturated$": "since 2026-11-29 a word of its own near the ceiling",
    r"/retention/(loss|loss in transfer|sealed to shifted|shifted to large)\b": (
        "since 2026-11-29 slices stand apart, each read against the closing look"
    ),
    r"/tables/happened/(retention|rungs)/": "the same",
    r"/words/lossy": "since 2026-11-29 of the excess loss",
    r"/instruments/(arms/[^/]+/gain( ratio)?/value|equal plan, CPU-seconds): ": (
        "since 2026-11-29 a study that generations alone end is read at its ends, by fresh looks"
    ),
    r"/tables/happened/gains/": "the same",
    r"/page/(svg|h3)": "since 2026-11-29 the first screen has a figure",
}
"""Places whose figures were wrong and are others today, each with its reason."""


def differences(before, after, where=""):
    """Yield the places where a recorded JSON value is another now; a new name is no change, nor a
    new row.
    """
    if isinstance(before, list) and isinstance(after, list) and len(before) < len(after):
        rest = iter(after)
        if before and all(any(row == other for other in rest) for row in before):
            return
    if is_number(before) and is_number(after) and type(before) is type(after):
        if not math.isclose(before, after, rel_tol=CLOSE, abs_tol=1e-12):
            yield f"{where}: {before} became {after}"
    elif isinstance(before, dict) and isinstance(after, dict):
        for name in before:
            yield from differences(before[name], after.get(name, "nothing"), f"{where}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{where}/{i}")
    elif type(before) is not type(after) or before != after:
        yield f"{where}: {before} became {after}"


def entries(run):
    """Return (sequence, bytes) of a ledger's entries, read without any code of ours."""
    book = sqlite3.connect(f"file:{run}/ledger.sqlite?mode=ro", uri=True)
    rows = book.execute("SELECT sequence, bytes FROM entries ORDER BY sequence").fetchall()
    book.close()
    return rows


def unpack(name, to, end=""):
    """Unpack the files of an archive whose names end so."""
    with tarfile.open(ARCHIVES / f"{name}.tar.xz") as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        members = [member for member in archive if member.name.endswith(end)]
        archive.extractall(to, members, **safe)
    return to


@pytest.fixture(scope="module", params=NAMES)
def unpacked(request, tmp_path_factory):
    """Each archive in turn, unpacked, with what v1 said about it."""
    folder = unpack(request.param, tmp_path_factory.mktemp(request.param))
    return folder, json.loads((folder / "expected.json").read_bytes())


@pytest.fixture
def recorded(unpacked, monkeypatch):
    folder, expected = deepcopy(unpacked)
    monkeypatch.setenv("HEIRLOOP_HOME", str(folder / "home"))
    return folder, expected


@pytest.fixture
def one_run(tmp_path, monkeypatch):
    """A fresh copy of the run in the real box, to be broken."""
    folder = unpack("boxed", tmp_path / "boxed")
    monkeypatch.setenv("HEIRLOOP_HOME", str(folder / "home"))
    return folder / "runs" / "boxed"


def test_every_archive_is_read_and_every_kind_of_entry_is_in_one(tmp_path):
    assert {path.name for path in ARCHIVES.glob("*.tar.xz")} == {f"{n}.tar.xz" for n in NAMES}
    for name in NAMES:
        unpack(name, tmp_path / name, "ledger.sqlite")
    rows = [row for ledger in tmp_path.rglob("ledger.sqlite") for row in entries(ledger.parent)]
    assert {json.loads(data)["kind"] for _, data in rows} == KINDS and len(KINDS) == 45


def test_recorded_exports_close_entries_for_every_reason(tmp_path):
    for name in NAMES:
        unpack(name, tmp_path / name, ".jsonl")
    files = [path.read_bytes() for path in tmp_path.rglob("entries-*.jsonl")]
    lines = [json.loads(line) for data in files for line in data.splitlines()]
    assert {line["closed"] for line in lines if "closed" in line} == REASONS


def test_a_figure_that_changes_is_named():
    before = {"a": [1, 0.5], "b": "yes", "c": True}
    assert not list(differences(before, {**before, "new": 1}))
    for after in ({"a": [1, 0.6]}, {"a": [1]}, {"a": [1.0, 0.5]}, {"b": "no"}, {"c": False}):
        assert len(list(differences(before, {**before, **after}))) == 1
    assert list(differences(before, {})) == [
        f"/{name}: {before[name]} became nothing" for name in "abc"
    ]


def test_a_recorded_run_and_its_exports_verify_and_give_their_figures_again(recorded):
    folder, expected = recorded
    now = json.loads(json.dumps(figures(folder)))
    for name, rows in now["runs"].items():
        before, page = expected["runs"][name].pop("page"), rows.pop("page")
        assert all(page[mark] >= count > 0 for mark, count in before.items()), (before, page)
        assert rows["verify"]["scores"] > 0  # the secret is at hand: scores were computed again
        text = (folder / "runs" / name / "report.html").read_text()
        assert name in re.search("<h1>(.*?)</h1>", text, re.S)[1]
    if find_spec("pyarrow") is None:
        for name, rows in now["exports"].items():
            rows["Parquet read back"] = expected["exports"][name]["Parquet read back"]
    found = list(differences(expected, now))
    assert [d for d in found if not any(re.search(place, d) for place in CHANGED)] == []


def test_one_page_compares_recorded_runs(recorded, tmp_path):
    folder, expected = recorded
    runs = [folder / "runs" / name for name in expected["runs"]]
    code, text = heirloop("compare", *runs, "--to", tmp_path / "page")
    page = (tmp_path / "page" / "report.html").read_text()
    assert code == 0 and all(run.name in page for run in runs), text


def flip(data, at):
    """Return bytes with one bit changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def rewrite(run, sql, *values):
    book = sqlite3.connect(run / "ledger.sqlite")
    book.execute(sql, values)
    book.commit()
    book.close()


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_one_changed_byte_of_a_recorded_entry_is_found(one_run, place):
    rows = entries(one_run)
    sequence, data = rows[int(place * (len(rows) - 1))]
    broken = flip(data, int(place * (len(data) - 1)))
    rewrite(one_run, "UPDATE entries SET bytes = ? WHERE sequence = ?", broken, sequence)
    code, text = heirloop("verify", one_run)
    assert code == FAILED and f"entry {sequence}" in text, text


def test_a_cut_tail_of_a_recorded_ledger_is_found(one_run):
    assert heirloop("verify", one_run)[0] == 0
    rewrite(one_run, "DELETE FROM entries WHERE sequence >= ?", entries(one_run)[-1][0] - 9)
    assert heirloop("verify", one_run)[0] == FAILED


def test_one_changed_byte_of_stored_predictions_is_found(one_run):
    bodies = [json.loads(data)["body"] for _, data in entries(one_run)]
    outputs = [body["result"]["outputs"] for body in bodies if "role" in body and "result" in body]
    names = [
        files["predictions.safetensors"] for files in outputs if "predictions.safetensors" in files
    ]
    for name in (names[0], names[-1]):
        path = one_run / "store" / name[:2] / name[2:]
        data = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(flip(data, len(data) - 1))
        assert heirloop("verify", one_run)[0] == FAILED
        path.write_bytes(data)
    assert heirloop("verify", one_run)[0] == 0


def test_one_changed_byte_of_a_recorded_export_is_found(recorded, tmp_path):
    folder, expected = recorded
    assert expected["exports"]
    for name in expected["exports"]:
        for pattern in ("entries-*.jsonl", "plans.csv", "manifest.json"):
            copy = shutil.copytree(folder / "exports" / name, tmp_path / name / pattern[:5])
            path = next(copy.glob(pattern))
            path.write_bytes(flip(path.read_bytes(), path.stat().st_size // 2))
            assert heirloop("verify", copy)[0] == FAILED, path
