"""Every verb on damaged runs and with odd arguments: one sentence, a documented exit code, and no
traceback. A damaged run harms no other.
"""

import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from fakes import FakeBox
from studies import better, config, execute, mandate

from loop.command import failure, main
from loop.command.verbs import VERBS
from loop.inbox.runs import ServedRuns
from loop.study import open as study_open
from sandbox import control
from sandbox.canonical import canonical, digest
from sandbox.chain import GENESIS

CODES = {0, 2, 3, 4, 5, 6, 7}
LONG = "x" * 5000
ON_RUN = {
    "accord": ["status", "RUN", "--to", "OUT"],
    "ablate": ["RUN"],
    "acknowledge": ["abc", "--run", "RUN", "--key", "a"],
    "amend": ["RUN", "budget.jobs=9"],
    "approve": ["abc", "--run", "RUN", "--key", "a"],
    "attest": ["RUN"],
    "cite": ["RUN"],
    "compare": ["RUN", "--to", "OUT"],
    "compute": ["RUN"],
    "decide": ["FILE", "--run", "RUN"],
    "deny": ["abc", "--run", "RUN", "--key", "a"],
    "deploy": ["RUN"],
    "drill": ["RUN"],
    "escalate": ["abc", "--run", "RUN", "--key", "a"],
    "export": ["RUN", "--to", "OUT", "--csv-only"],
    "fork": ["RUN", "--from", "abcdefgh", "--to", "OUT", "--why", "x"],
    "incident": ["list", "RUN"],
    "instruments": ["RUN"],
    "notify": ["RUN"],
    "paper": ["RUN"],
    "pause": ["RUN"],
    "pending": ["RUN"],
    "plans": ["RUN"],
    "propose": ["RUN", "FILE"],
    "prune": ["RUN"],
    "recall": ["RUN", "abc", "--why", "x"],
    "repair": ["RUN"],
    "replay": ["RUN", "abc"],
    "report": ["RUN"],
    "resume": ["RUN"],
    "rollback": ["RUN"],
    "show": ["abc", "--run", "RUN"],
    "slow": ["RUN", "3"],
    "status": ["RUN"],
    "stop": ["RUN"],
    "truth": ["RUN"],
    "unseal": ["RUN"],
    "verify": ["RUN"],
}
"""Verbs on a run, with arguments."""
ELSEWHERE = {
    "attack": ["--only", LONG],
    "audit": [LONG],
    "calibrate": [LONG],
    "certify": ["FOLDER", "--key", LONG],
    "check": [LONG],
    "doctor": ["--box", "none"],
    "gatebench": ["harm", LONG],
    "image": ["nothing"],
    "inbox": ["FOLDER"],
    "list": ["nothing"],
    "keys": ["sign-in", LONG, LONG, "--origin", LONG],
    "mandate": ["grant", "--unattended", f"study.name={LONG}"],
    "power": ["--gain", "nan"],
    "proposers": ["extra"],
    "run": ["runs=/dev/null/x"],
    "tab": ["build", LONG],
    "task": ["check", f"{LONG}.py"],
    "validate": ["--world", LONG],
}
"""Verbs on something else, with arguments that are odd."""


def make(tmp_path):
    cfg = config(tmp_path, "study.generations=1", "study.final_replicates=0")
    mandate(cfg)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_open, "make_box", lambda _: FakeBox(better))
        execute(cfg)
    study_open.release_locks()
    with sqlite3.connect(cfg_folder(cfg) / "ledger.sqlite") as book:  # the file alone is whole
        book.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def cfg_folder(cfg):
    return Path(cfg.runs) / cfg.study.name


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command line in this process; return its exit code and what it says of an error."""
    monkeypatch.chdir(tmp_path)
    # This process holds what it opened, and `heirloop stop` would end it.
    monkeypatch.setattr(control, "holder", lambda _: 0)
    monkeypatch.setattr(study_open, "make_box", lambda _: FakeBox(better))
    monkeypatch.setattr(failure, "_write", lambda error: pytest.fail(f"a mistake: {error!r}"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["heirloop", *words])
        try:
            main.main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().err

    yield run
    study_open.release_locks()


def need_sentence(code, error, words):
    assert code in CODES, (words, code, error)
    assert "Traceback" not in error, (words, error)
    lines = [line for line in error.splitlines() if line.startswith(("heirloop: ", "Error: "))]
    assert len(lines) == (code != 0), (words, error)


def book(act):
    def damage(run):
        with sqlite3.connect(run / "ledger.sqlite") as connection:
            act(connection)
        connection.close()

    return damage


def sql(text):
    return book(lambda connection: connection.executescript(text))


def last_row(make_bytes):
    """Replace the last entry by other bytes under a hash that fits them."""

    def act(connection):
        number, data = connection.execute(
            "SELECT sequence, bytes FROM entries ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        row = make_bytes(data)
        name = digest(row) if isinstance(row, bytes) else GENESIS
        connection.execute(
            "UPDATE entries SET hash = ?, bytes = ? WHERE sequence = ?", (name, row, number)
        )

    return book(act)


def overwrite(name, data):
    return lambda run: (run / name).write_bytes(data)


def pipe(name):
    def damage(run):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return damage


def folder(name):
    def damage(run):
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()

    return damage


def cut(run):
    os.truncate(run / "ledger.sqlite", 5000)
    for end in ("wal", "shm"):
        (run / f"ledger.sqlite-{end}").unlink(missing_ok=True)


LEDGERS = {
    "no text": last_row(lambda data: b"\xff\xfe"),
    "no JSON": last_row(lambda data: data[:-1]),
    "deep JSON": last_row(lambda data: b"[" * 100_000),
    "no object": last_row(lambda data: b"5"),
    "no bytes": last_row(lambda data: 5),
    "nothing": last_row(lambda data: None if data is None else ""),
    "no time": last_row(lambda data: data.replace(b'"time":"2', b'"time":"x')),
    "no body": last_row(lambda data: canonical({"sequence": 1, "previous": "", "body": []})),
    "unknown kind": last_row(lambda data: data.replace(b'"kind":"', b'"kind":"x')),
    "dropped accounts": sql("DROP TABLE accounts"),
    "dropped entries": sql("DROP TABLE entries"),
    "no entries": sql("DELETE FROM entries"),
    "a view": sql(
        "ALTER TABLE entries RENAME TO e; CREATE VIEW entries AS WITH RECURSIVE n(i) AS (SELECT 1"
        " UNION ALL SELECT i + 1 FROM n) SELECT i AS sequence, 'x' AS hash, 'y' AS bytes FROM n"
    ),
    "cut": cut,
    "text": overwrite("ledger.sqlite", b"hello" * 1000),
    "empty": overwrite("ledger.sqlite", b""),
    "pipe": pipe("ledger.sqlite"),
    "folder": folder("ledger.sqlite"),
}
BESIDE = {
    "heads, no JSON": overwrite("checkpoints.jsonl", b"{\n"),
    "heads, no object": overwrite("checkpoints.jsonl", b"5\n"),
    "heads, zeros": overwrite("checkpoints.jsonl", b"\0" * 5000),
    "heads, a pipe": pipe("checkpoints.jsonl"),
    "heads, a folder": folder("checkpoints.jsonl"),
    "summary, a pipe": pipe("summary.json"),
    "summary, deep": overwrite("summary.json", b"[" * 100_000),
    "summary, a folder": folder("summary.json"),
    "store, a pipe": lambda run: [pipe(path)(run) for path in list((run / "store").glob("*/*"))],
}


def test_the_table_names_every_verb():
    assert set(ON_RUN) | set(ELSEWHERE) == set(VERBS) and not set(ON_RUN) & set(ELSEWHERE)


def words_of(verb, tmp_path, run):
    places = {
        "RUN": str(run),
        "OUT": str(tmp_path / "out" / verb),
        "FILE": str(tmp_path / "file.json"),
    }
    return [verb, *(places.get(word, word) for word in ON_RUN[verb])]


@pytest.mark.parametrize("damage", LEDGERS)
def test_every_verb_on_a_damaged_ledger_says_so(tmp_path, copied, call, damage):
    copied(make)
    run = tmp_path / "runs" / "t"
    LEDGERS[damage](run)
    (tmp_path / "file.json").write_text("{}")
    for verb in ON_RUN:
        words = words_of(verb, tmp_path, run)
        code, error = call(*words)
        need_sentence(code, error, words)
        # A verb that needs no such entry goes on.
        assert code != 0 or (damage == "unknown kind" and verb != "verify"), words


@pytest.mark.parametrize("damage", BESIDE)
def test_damage_beside_the_ledger_is_a_failed_verification(tmp_path, copied, call, damage):
    copied(make)
    run = tmp_path / "runs" / "t"
    BESIDE[damage](run)
    for words in (["verify", str(run), "--read-only"], ["verify", str(run)]):
        code, error = call(*words)
        need_sentence(code, error, words)
        assert code == 6, (words, error)
    for verb in ("status", "plans", "export"):
        words = words_of(verb, tmp_path, run)
        need_sentence(*call(*words), words)


PLACES = {
    "missing": "missing",
    "a file": "file.json",
    "below a file": "file.json/x",
    "below a device": "/dev/null/x",
    "a device": "/dev/zero",
    "long": LONG,
    "no UTF-8": "a\udcff",
    "a pipe": "pipe",
    "nothing": "",
}


@pytest.mark.parametrize("place", PLACES)
def test_every_verb_on_an_odd_place_says_so(tmp_path, call, place):
    (tmp_path / "file.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    # An inbox of the current folder would serve it.
    for verb in [*ON_RUN, *["inbox"] * bool(PLACES[place])]:
        words = [verb, PLACES[place]]
        if verb in ON_RUN:
            words = words_of(verb, tmp_path, PLACES[place])
        code, error = call(*words)
        need_sentence(code, error, words)
        assert code != 0, words


@pytest.mark.parametrize("verb", ELSEWHERE)
def test_every_other_verb_refuses_odd_arguments(tmp_path, call, verb):
    (tmp_path / "FOLDER").write_text("")
    words = [verb, *ELSEWHERE[verb]]
    code, error = call(*words)
    need_sentence(code, error, words)
    assert code != 0, (words, error)


@pytest.mark.parametrize("place", ["file.json", "file.json/x", "/dev/null/x", LONG, "pipe"])
def test_what_is_written_to_an_odd_place_says_so(tmp_path, copied, call, place):
    copied(make)
    run = str(tmp_path / "runs" / "t")
    (tmp_path / "file.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    for words in (
        ["export", run, "--to", place],
        ["compare", run, "--to", place],
        ["decide", place, "--run", run],
        ["propose", run, place],
        ["compute", "--check", place],
        ["verify", run, "--heads", place],
        ["incident", "export", run, "x", "--out", place],
        ["run", f"runs={place}"],
        ["run", f"task.file={place}", "task=custom"],
    ):
        code, error = call(*words)
        need_sentence(code, error, words)
        assert code != 0, words


def test_the_inbox_lists_a_damaged_run_as_damaged_and_serves_the_others(tmp_path, copied):
    copied(make)
    runs = tmp_path / "runs"
    for number, damage in enumerate(set(LEDGERS) - {"unknown kind"}):
        shutil.copytree(runs / "t", runs / f"d{number}")
        LEDGERS[damage](runs / f"d{number}")
    served = ServedRuns(runs)
    rows = {name: (run, why) for name, run, why in served.each()}
    assert rows["t"][0] and not rows["t"][1]
    assert all(run is None and why for name, (run, why) in rows.items() if name != "t")
    assert served.waiting() == []


def test_an_unforeseen_error_is_called_a_mistake_and_its_traceback_is_kept(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(main, "cli", lambda **_: {}["missing"])
    with pytest.raises(SystemExit) as end:
        main.main()
    (path,) = tmp_path.glob("heirloop-mistake-*")
    error = capsys.readouterr().err
    assert end.value.code == 1 and "this is a mistake in Heirloop" in error and str(path) in error
    assert "Traceback" in path.read_text() and "Traceback" not in error
