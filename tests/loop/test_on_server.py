"""Whole studies whose ledger lies on a PostgreSQL server."""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import FakeBox
from servers import PASSWORD
from studies import better, config, mandate
from test_repeatable import TINY

from configs.entries import ChampionEntry, PlanEntry, ScoreEntry, VerdictEntry, facts_of
from configs.errors import BadInput, Stopped, VerificationFailed
from loop import session
from loop.command import failure, main
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study.simulated import SimulatedBox
from loop.verify.run import verify
from sandbox import control, ledger, postgres
from sandbox.address import VARIABLE, make_address, remember, write_address
from sandbox.heads import open_ledger


@pytest.fixture
def url(cluster):
    return cluster.new_database()


class Clock(datetime):
    """A clock that stands still, from when a test says so."""

    moment: datetime

    @classmethod
    def now(cls, tz=None):
        return cls.moment


def play(*overrides):
    """Run a simulated study; return its entries."""
    try:
        session.execute(compose_settings([*TINY, "box.parallel=1", *overrides]))
    finally:
        study_open.release_locks()
    return open_ledger(Path("runs/t")).entries()


def found(entries):
    """Return what a study found: plans, scores, verdicts and champions."""
    kinds = (PlanEntry, ScoreEntry, VerdictEntry, ChampionEntry)
    return [list(facts_of(entries, kind)) for kind in kinds]


@pytest.fixture
def heirloop(monkeypatch, capsys):
    """Run a command in this process; return its exit code and what it printed."""
    monkeypatch.setattr(control, "holder", lambda _: 0)  # `heirloop stop` would end this process
    monkeypatch.setattr(failure, "_write", lambda error: pytest.fail(f"a mistake: {error!r}"))

    def run(*words):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["heirloop", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
            sys.exit(0)
        done = capsys.readouterr()
        assert PASSWORD not in done.out + done.err and "Traceback" not in done.err
        study_open.release_locks()
        return ended.value.code or 0, " ".join((done.out + done.err).split())

    return run


def holds(folder, words):
    """Return the files below a folder with these bytes in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if words in path.read_bytes()]


def test_the_same_study_is_the_same_on_both_databases_even_if_the_server_dies_in_between(
    url, cluster, tmp_path, monkeypatch, heirloop
):
    """With a clock that stands still, every entry has the same bytes, wherever it lies. A study
    whose server died goes on with the same command, and finds the same.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ledger, "datetime", Clock)
    monkeypatch.setattr(ledger, "time", SimpleNamespace(monotonic_ns=lambda: 0))
    mandate(compose_settings(TINY))
    Clock.moment = datetime.now(UTC)
    here = play()
    shutil.rmtree("runs")
    there = play(f"ledger={url}")
    assert not Path("runs/t/ledger.sqlite").exists()
    assert here[-1].kind == "session" and here[:-1] == there[:-1] and len(here) > 300
    shutil.rmtree("runs")
    with pytest.raises(BadInput, match="holds a study in schema heirloop_t already"):
        play(f"ledger={url}")

    other, run, jobs = cluster.new_database(), SimulatedBox.run, []

    def die(box, execution):
        jobs.append(execution)
        if len(jobs) == 40:
            cluster.stop()
        return run(box, execution)

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedBox, "run", die)
        try:
            with pytest.raises(Stopped, match="the same command goes on where it was") as stopped:
                play(f"ledger={other}")
        finally:
            cluster.start()
    assert PASSWORD not in str(stopped.value)
    verify(Path("runs/t"))
    again = play()  # the run's folder knows where its ledger lies
    assert found(again) == found(here)
    assert verify(Path("runs/t"))["jobs"] >= 40
    assert not holds(tmp_path, PASSWORD.encode())
    read_as_any_run(heirloop, cluster, other, tmp_path, monkeypatch)


def read_as_any_run(heirloop, cluster, url, tmp_path, monkeypatch):
    """Hold every way to read a run to a run on a server, which then dies."""
    for words, said in {
        ("verify", "runs/t"): "scores",
        ("status", "runs/t"): "champion",
        ("status", "runs"): "ended",
        ("show", "runs/t"): "What",
        ("plans", "runs/t"): "plan",
        ("export", "runs/t", "--to", "out", "--csv-only"): "plans",
        ("verify", "out"): "",
        ("stop", "runs/t"): "the study had ended",
        ("repair", "runs/t"): "",
        ("run", *TINY, f"ledger={url}x"): "it should be",
    }.items():
        code, text = heirloop(*words)
        assert code == (2 if words[0] == "run" else 0) and said in text, (words, text)
    with monkeypatch.context() as patch:
        patch.setenv("HEIRLOOP_HOME", str(tmp_path / "eve"))
        code, text = heirloop("verify", "runs/t")
        assert code == 6 and "this user never named" in text
        patch.setenv(VARIABLE, url)
        assert heirloop("status", "runs/t")[0] == 0
    cluster.stop()
    try:
        for words in (("verify", "runs/t"), ("report", "runs/t")):
            code, text = heirloop(*words)
            assert code == 5 and text.count("does not answer as it should") == 1
        code, text = heirloop("stop", "runs/t")  # it holds all the same
        assert code == 5 and Path("runs/t/STOP").exists()
    finally:
        cluster.start()
    with pytest.raises(Stopped, match="stopped"):
        play()


def test_a_study_keeps_to_the_place_where_its_ledger_began(url, tmp_path, go):
    cfg = config(tmp_path, "study.generations=1", f"ledger={url}")
    folder = Path(cfg.runs) / "t"
    folder.mkdir(parents=True)
    address = make_address(url, "t")
    remember(url)
    postgres.create(address)
    write_address(folder, address)  # killed before the study's root was written: it begins now
    mandate(cfg)
    go(cfg, FakeBox(better))
    assert verify(folder)["jobs"] and open_ledger(folder).entries()[0].fact.config.ledger == ""
    shutil.rmtree(folder / "store")
    database = url.rpartition("/")[2]
    file = config(tmp_path, "study.generations=1", "study.name=u")
    mandate(file)
    go(file, FakeBox(better))
    moved = config(tmp_path, "study.generations=1", "study.name=u", f"ledger={url}")
    with pytest.raises(BadInput, match="the ledger lies in the run's folder"):
        go(moved, FakeBox(better))
    assert database in (folder / "ledger.json").read_text()


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ("order", Stopped, "stop"),
        ("drop", VerificationFailed, "was replaced or taken away|cannot be read"),
    ],
)
def test_a_running_study_obeys_orders_and_notices_that_its_ledger_is_gone(
    url, cluster, tmp_path, go, how, error, said
):
    cfg = config(tmp_path, f"ledger={url}")
    mandate(cfg)
    folder, box = Path(cfg.runs) / "t", FakeBox(better)

    def script(_):
        if len(box.ran) == 5 and how == "order":
            control.order(open_ledger(folder), "stop", "ada", "from another machine")
        if len(box.ran) == 5 and how == "drop":
            cluster.ask("DROP SCHEMA heirloop_t CASCADE", url.rpartition("/")[2])
        return None

    box.script = script
    with pytest.raises(error, match=said):
        go(cfg, box)
    assert len(box.ran) < 20


def test_a_copy_of_the_folder_on_another_machine_does_not_run_beside_it(url, tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "CLAIM_SECONDS", 0.1)
    cfg = config(tmp_path, f"ledger={url}")
    try:
        study_open.open_study(cfg, FakeBox(better))
        shutil.copytree(cfg.runs, tmp_path / "copy")
        monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "machine"))
        other = config(tmp_path, f"ledger={url}", f"runs={tmp_path}/copy")
        with pytest.raises(Stopped, match="here or on another machine"):
            study_open.open_study(other, FakeBox(better))
    finally:
        study_open.release_locks()
