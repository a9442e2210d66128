"""Hostile logs, format by format: what is in them is not followed, not run and not believed."""

import json
import os
import random
import shutil
import sqlite3
import struct
import zlib

import pytest
from conftest import ROOT
from foreign import plant, run_git, write_history, write_openevolve, write_shinka

from configs.errors import BadInput
from loop.audit import copy, read
from loop.audit.formats.history import History
from loop.audit.measure import measure
from loop.audit.read import read_log


@pytest.fixture
def loop():
    return plant("zeros and gains", 2, trials=12, noise=0.01, start=1.0)


@pytest.fixture
def without(tmp_path, monkeypatch):
    """Run the child from a copy of its source in which a text of a reader is another."""

    def change(file, text, other=""):
        home = tmp_path / "home"
        shutil.copytree(ROOT / "loop" / "audit", home / "loop" / "audit")
        shutil.copy(ROOT / "loop" / "__init__.py", home / "loop")
        path = home / "loop" / "audit" / "formats" / file
        assert path.read_text().count(text) == 1
        path.write_text(path.read_text().replace(text, other))
        monkeypatch.setattr(read, "HOME", home)

    return change


def names(log):
    return [trial.name for trial in log.trials]


def snapshot(folder):
    """Return the bytes and times of all files of a folder."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def run_sql(path, text):
    book = sqlite3.connect(path)
    book.executescript(text)
    book.close()


def test_the_newest_rows_of_a_database_are_in_its_log_of_writes(tmp_path, loop, monkeypatch):
    place = tmp_path / "run"
    place.mkdir()
    write_shinka(loop.trials[:8], place / "programs.sqlite")
    book = sqlite3.connect(place / "programs.sqlite")
    book.execute("PRAGMA journal_mode=WAL")
    for i, t in enumerate(loop.trials[8:]):
        row = (t.name, t.content, "python", None, 8 + i, 1.8e9 + i, t.score, "{}", 1, "{}", 0)
        book.execute(f"INSERT INTO programs VALUES ({', '.join('?' * len(row))})", row)
    book.commit()
    before = snapshot(place)
    assert names(read_log(place)) == [t.name for t in loop.trials]
    assert snapshot(place) == before
    monkeypatch.setattr(copy, "_copy_file", lambda *words, real=copy._copy_file: skip(real, words))
    assert names(read_log(place)) == [t.name for t in loop.trials[:8]]
    book.close()


def skip(real, words):
    """Copy a file, but not a log of writes."""
    return b"" if words[2].endswith("-wal") else real(*words)


def test_a_database_that_was_closed_in_order_is_read_too(tmp_path, loop):
    write_shinka(loop.trials, tmp_path / "book")
    run_sql(tmp_path / "book", "PRAGMA journal_mode=WAL; PRAGMA wal_checkpoint(TRUNCATE);")
    assert not (tmp_path / "book-wal").exists()
    assert len(read_log(tmp_path / "book").trials) == 12


VIEW = """
ALTER TABLE programs RENAME TO secret;
CREATE VIEW programs AS SELECT id, code, language, parent_id, generation, timestamp,
 combined_score, public_metrics, correct, metadata, island_idx FROM secret;
"""
ENDLESS = """
ALTER TABLE programs RENAME TO secret;
CREATE VIEW programs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
 SELECT 'x' AS id, '' AS code, '' AS parent_id, 1 AS generation, 1 AS timestamp,
 max(i) AS combined_score, '' AS public_metrics, 1 AS correct, '' AS metadata FROM n;
"""
AUTHORISER = "    book.set_authorizer(_authorise)\n"


def test_a_view_is_not_read_unless_the_authoriser_is_taken_out(tmp_path, loop, without):
    write_shinka(loop.trials, tmp_path / "book")
    run_sql(tmp_path / "book", VIEW)
    with pytest.raises(BadInput, match=r"prohibited|not authorized"):
        read_log(tmp_path / "book")
    without("shinka.py", AUTHORISER)
    assert len(read_log(tmp_path / "book").trials) == 12


def test_work_without_end_meets_the_deadline(tmp_path, loop, without, monkeypatch):
    write_shinka(loop.trials, tmp_path / "book")
    run_sql(tmp_path / "book", ENDLESS)
    with pytest.raises(BadInput, match=r"prohibited|not authorized"):
        read_log(tmp_path / "book")
    without("shinka.py", AUTHORISER, "    SECONDS = 1.0\n")
    path = read.HOME / "loop" / "audit" / "formats" / "shinka.py"
    with pytest.raises(BadInput, match="interrupted"):
        read_log(tmp_path / "book")
    monkeypatch.setattr(read, "CPU_SECONDS", 2)
    path.write_text(path.read_text().replace("    book.set_progress_handler", "    0 and print"))
    with pytest.raises(BadInput, match="was ended by signal"):
        read_log(tmp_path / "book")


def test_the_copy_of_a_database_cannot_be_written(tmp_path, loop, without):
    write_shinka(loop.trials, tmp_path / "book")
    without("shinka.py", AUTHORISER, '    book.execute("DELETE FROM programs")\n')
    with pytest.raises(BadInput, match="readonly database"):
        read_log(tmp_path / "book")


def damage_row(sql):
    return lambda place: run_sql(place, sql)


def overwrite(at, data):
    def act(place):
        with open(place, "r+b") as file:
            file.seek(at)
            file.write(data)

    return act


def link_writes(place):
    (place.parent / "elsewhere").write_bytes(b"x")
    os.symlink(place.parent / "elsewhere", f"{place}-wal")


DATABASES = {
    "no table": damage_row("ALTER TABLE programs RENAME TO other"),
    "no column": damage_row("ALTER TABLE programs RENAME COLUMN combined_score TO other"),
    "no rows": damage_row("DELETE FROM programs"),
    "a huge value": damage_row("UPDATE programs SET code = zeroblob(9000000)"),
    "an endless page": overwrite(4096, b"\5" + b"\0" * 11),
    "a head alone": lambda place: os.truncate(place, 100),
    "an unfinished write": lambda place: place.with_name("log-journal").write_bytes(b"x" * 600),
    "a link beside it": link_writes,
    "a pipe beside it": lambda place: os.mkfifo(f"{place}-wal"),
}


@pytest.mark.parametrize("damage", DATABASES)
def test_a_damaged_database_is_one_sentence(tmp_path, loop, damage):
    place = write_shinka(loop.trials, tmp_path / "log")
    DATABASES[damage](place)
    with pytest.raises(BadInput) as error:
        read_log(place)
    assert str(error.value).startswith("PATH is ") and "\n" not in str(error.value)
    assert ("a write to it is not finished" in str(error.value)) == (
        damage == "an unfinished write"
    )


def test_a_program_of_shinka_that_is_not_correct_failed_and_a_copy_is_no_trial(tmp_path, loop):
    place = write_shinka(loop.trials, tmp_path / "log")
    run_sql(place, "UPDATE programs SET correct = 0 WHERE id = 't3'")
    mark = json.dumps({"_is_island_copy": True})
    run_sql(place, f"UPDATE programs SET metadata = '{mark}' WHERE id = 't4'")
    log = read_log(place)
    assert "t4" not in names(log) and len(log.trials) == 11
    assert [t.failure for t in log.trials if t.score is None] == ["not correct"]
    assert log.notes == ("1 copies on other islands are left out",)


def test_values_of_other_types_are_not_believed(tmp_path, loop):
    place = write_shinka(loop.trials, tmp_path / "log")
    for column, value in (
        ("code", "x'ff00'"),
        ("combined_score", "'high'"),
        ("metadata", "CAST(x'80ff' AS TEXT)"),
        ("metadata", "'[[['"),
        ("generation", "'first'"),
    ):
        run_sql(place, f"UPDATE programs SET {column} = {value} WHERE id = 't5'")
    log = read_log(place)
    (odd,) = [t for t in log.trials if t.name == "t5"]
    assert len(log.trials) == 12 and odd.score is None and odd.content == "" and odd.text == ""


def edit(place, name, **values):
    path = place / "programs" / f"{name}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_programs_that_a_checkpoint_lost_are_counted_and_keep_others_from_being_weighed(
    tmp_path, loop
):
    log = read_log(write_openevolve(loop.trials, tmp_path / "log", last=40))
    assert log.made == 41
    lines = {line.name: line for line in measure(log, "", None).lines}
    assert "so 29 are lost" in lines["trials"].text
    assert lines["keeps"].figure.word == "at least"
    assert lines["false keeps"].figure.word == "cannot tell"
    assert lines["keeps by noise alone"].figure.n == 40


def test_several_checkpoints_are_read_as_one(tmp_path, loop):
    place = tmp_path / "checkpoints"
    write_openevolve(loop.trials[:6], place / "checkpoint_9")
    write_openevolve([loop.trials[0], *loop.trials[5:]], place / "checkpoint_10", last=11)
    for path in (tmp_path, place):
        log = read_log(path)
        assert len(log.trials) == log.made == 12 and log.notes == ("2 checkpoints are read as one",)
    assert len(read_log(place / "checkpoint_9").trials) == 6


def test_a_migrant_is_no_trial_and_an_error_is_a_failure(tmp_path, loop):
    place = write_openevolve(loop.trials, tmp_path / "log")
    edit(place, "t3", metadata={"migrant": True})
    edit(place, "t4", metrics={"error": 0.0, "combined_score": 0.0})
    edit(place, "t5", metrics={})
    edit(place, "t6", metrics={"combined_score": True})
    log = read_log(place)
    assert "t3" not in names(log) and log.notes == ("1 copies on other islands are left out",)
    failed = {t.name: t.failure for t in log.trials if t.score is None}
    assert failed == {"t4": "error", "t5": "error", "t6": "no score"}


def test_without_a_combined_score_the_mean_of_the_metrics_that_are_no_feature_is_it(tmp_path, loop):
    place = write_openevolve(loop.trials[:2], tmp_path / "log")
    for name in ("t0", "t1"):
        edit(place, name, metrics={"a": 1.0, "b": 3.0, "size": 100.0, "fine": True, "word": "x"})
    (place / "metadata.json").write_text(json.dumps({"feature_stats": {"size": {}}}))
    log = read_log(place)
    assert [t.score for t in log.trials] == [2.0, 2.0] and log.metric == "mean of metrics"
    assert [t.score for t in read_log(place, "b").trials] == [3.0, 3.0]


def link_program(place):
    (place / "programs" / "t3.json").unlink()
    (place / "programs" / "t3.json").symlink_to("/etc/hostname")


def link_folder(place):
    (place / "programs").rename(place.parent / "real")
    (place / "programs").symlink_to(place.parent / "real")


def sparse_program(place):
    os.truncate(place / "programs" / "t3.json", 1_000_000_000)


CHECKPOINTS = {
    "a link among programs": link_program,
    "a link to the programs": link_folder,
    "a program of a gigabyte": sparse_program,
    "a pipe among programs": lambda place: os.mkfifo(place / "programs" / "z.json"),
    "no head": lambda place: (place / "metadata.json").unlink(),
    "no programs": lambda place: shutil.rmtree(place / "programs"),
    "an empty head": lambda place: (place / "metadata.json").write_text(""),
    "deep JSON": lambda place: (place / "metadata.json").write_text("[" * 100_000),
    "no object": lambda place: (place / "programs" / "t3.json").write_text("[1]"),
    "no UTF-8": lambda place: (place / "programs" / "t3.json").write_bytes(b'{"id": "\xff"}'),
}


@pytest.mark.parametrize("damage", CHECKPOINTS)
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, loop, damage):
    place = write_openevolve(loop.trials, tmp_path / "log")
    CHECKPOINTS[damage](place)
    with pytest.raises(BadInput) as error:
        read_log(place)
    assert str(error.value).startswith("PATH is ") and "\n" not in str(error.value)


@pytest.mark.parametrize("pack", [(), (5,), (11,)])
def test_commits_are_those_that_git_itself_reads(tmp_path, loop, pack):
    place = write_history(loop.trials, tmp_path / "log", pack=pack)
    folder = place / ".git"
    if pack == (11,):
        assert not list(folder.glob("objects/[0-9a-f][0-9a-f]"))
    history = History(folder)
    rows = [line.split("\t") for line in (place / "results.tsv").read_text().splitlines()[1:]]
    for row in rows:
        full, tree = run_git(place, "log", "-1", "--format=%H %T", row[0]).split()
        parents = run_git(place, "log", "-1", "--format=%P", row[0]).split()
        assert history.find(row[0]) == full and history.commit(full) == (tree, parents)
    assert history.branch() == set(run_git(place, "rev-list", "HEAD").split())
    assert history.find("0000000") == history.find("") == history.find("zzzz") == ""


def test_keeps_are_held_against_the_branch(tmp_path, loop):
    place = write_history(loop.trials, tmp_path / "log")
    kept = sum(bool(t.kept) for t in loop.trials)
    log = read_log(place)
    assert (log.in_history, log.on_branch) == (kept, kept)
    assert len({t.content for t in log.trials}) == 12
    run_git(place, "reset", "-q", "--hard", "HEAD~1")
    log = read_log(place / "results.tsv")
    assert (log.in_history, log.on_branch) == (kept, kept - 1)
    shutil.rmtree(place / ".git")
    assert read_log(place).in_history is None


def test_no_alternate_store_replacement_or_config_has_an_effect(tmp_path, loop):
    place = write_history(loop.trials, tmp_path / "log")
    real = {t.name: t.content for t in read_log(place).trials}
    first, last = names(read_log(place))[0], names(read_log(place))[-1]
    run_git(place, "replace", "-f", last, first)
    hook = place / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    hook.chmod(0o755)
    with open(place / ".git" / "config", "a") as file:
        file.write(f"[core]\n\tfsmonitor = touch {tmp_path / 'ran'}\n")
    assert {t.name: t.content for t in read_log(place).trials} == real
    shutil.move(place / ".git" / "objects", tmp_path / "store")
    (place / ".git" / "objects" / "info").mkdir(parents=True)
    (place / ".git" / "objects" / "info" / "alternates").write_text(f"{tmp_path / 'store'}\n")
    assert run_git(place, "cat-file", "-t", first) == "commit"  # git follows it
    log = read_log(place)
    assert log.in_history is None or log.in_history == 0
    assert not (tmp_path / "ran").exists()


def test_a_history_behind_a_link_is_not_read(tmp_path, loop):
    place = write_history(loop.trials, tmp_path / "log")
    shutil.move(place / ".git", tmp_path / "real")
    (place / ".git").symlink_to(tmp_path / "real")
    log = read_log(place)
    assert log.in_history is None and "the history is not read" in log.notes[0]
    (place / ".git").unlink()
    (place / ".git").write_text(f"gitdir: {tmp_path / 'real'}\n")
    assert read_log(place).in_history is None


def write_object(folder, name, data):
    path = folder / "objects" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_an_object_that_swells_or_lies_is_no_commit(tmp_path):
    sound = b"commit 9\0tree " + b"1" * 40 + b"\n\n"
    write_object(tmp_path, "a" * 40, zlib.compress(sound + b"x" * 3_000_000, 1))
    write_object(tmp_path, "f" * 40, zlib.compress(sound))
    write_object(tmp_path, "b" * 40, zlib.compress(b"commit 9\0tree zz\nparent ..\n\n"))
    write_object(tmp_path, "c" * 40, b"")
    write_object(tmp_path, "d" * 40, zlib.compress(b"tree 0\0"))
    history = History(tmp_path)
    assert [history.commit(letter * 40) for letter in "abcd"] == [None] * 4
    assert history.commit("f" * 40) == ("1" * 40, [])


def test_a_delta_that_is_its_own_base_has_an_end(tmp_path):
    name = bytes.fromhex("e" * 40)
    pack = b"PACK" + struct.pack(">II", 2, 1) + bytes([7 << 4 | 9]) + name + zlib.compress(b"x" * 9)
    fans = struct.pack(">256I", *[1] * 256)
    index = b"\xfftOc\0\0\0\2" + fans + name + b"\0" * 4 + struct.pack(">I", 12)
    folder = tmp_path / "objects" / "pack"
    folder.mkdir(parents=True)
    (folder / "pack-a.pack").write_bytes(pack)
    (folder / "pack-a.idx").write_bytes(index)
    assert History(tmp_path).commit("e" * 40) is None


def test_packs_with_changed_bytes_raise_nothing(tmp_path, loop):
    place = write_history(loop.trials, tmp_path / "log", pack=(11,))
    rng = random.Random(3)
    logged = names(read_log(place))
    files = [*place.glob(".git/objects/pack/*.pack"), *place.glob(".git/objects/pack/*.idx")]
    assert len(files) == 2
    whole = [path.read_bytes() for path in files]
    found = 0
    for _ in range(60):
        for path, data in zip(files, whole, strict=True):
            changed = bytearray(data)
            for _ in range(8):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            path.chmod(0o644)
            path.write_bytes(changed)
        history = History(place / ".git")
        history.branch()
        commits = [history.find(name) for name in logged]
        found += sum(map(bool, commits))
    assert found > 0 and len(logged) == 12
