"""A study that is reopened: an older ledger, changed rows, a second loop, a fork, half-written
files. Each enforcement has a test that fails without it.
"""

import ast
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes import FakeBox
from studies import better, config, entries, mandate

from configs.build import plain
from configs.entries import StudyEntry
from configs.errors import BadInput, BudgetExhausted, HeirloopError, Stopped, VerificationFailed
from configs.records import Amount
from loop import session
from loop.command.main import cli
from loop.people import acts, requests
from loop.study import disk
from loop.study import fork as forks
from loop.verify.fork import check_fork
from loop.verify.heads import open_verified
from loop.verify.run import verify, verify_and_record
from sandbox import budget, charges, control, heads, incident, keys, lock
from sandbox.files import append_line, read_lines, replace_file
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger


@pytest.fixture
def cfg(tmp_path, go):
    """Settings of a finished small study, and an older copy of its ledger beside the run."""
    made = config(tmp_path, "study.generations=1")
    mandate(made)
    go(made, FakeBox(better))
    folder = tmp_path / "runs" / "t"
    keep(folder, tmp_path / "old")
    control.order(open_ledger(folder), "pause", "ada", "a look")
    return made


def keep(folder, to):
    """Copy a ledger at rest."""
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute("vacuum into ?", (str(to),))


def stored(folder):
    """Return the rows of a ledger as they are stored, whether they can be read or not."""
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection:
        return connection.execute("select * from entries order by sequence").fetchall()


def put_back(folder, old):
    for file in folder.glob("ledger.sqlite*"):
        file.unlink()
    shutil.copy(old, folder / "ledger.sqlite")


def change(folder, sql):
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        assert connection.execute(sql).rowcount


WRITES = {
    "run": lambda cfg, folder, go: go(cfg, FakeBox(better)),
    "pause": lambda cfg, folder, go: control.order(open_ledger(folder), "pause", "a", ""),
    "resume": lambda cfg, folder, go: acts.resume(folder, "ada"),
    "request": lambda cfg, folder, go: requests.open_gate(folder).request("0" * 64, "deploy"),
    "inbox": lambda cfg, folder, go: requests.open_gate(folder).admit(b"{}", "approval"),
}


@pytest.mark.parametrize("place", ["run", "home", "auditor"])
@pytest.mark.parametrize("what", WRITES)
def test_an_older_ledger_is_not_written_on(cfg, go, tmp_path, what, place):
    """The head of any single place is enough: the other places are taken away."""
    folder, root = tmp_path / "runs" / "t", entries(cfg)[0].hash
    inside, outside = heads.places(folder, root)
    copies = {"run": inside, "home": outside, "auditor": outside.with_name(f"{root}-eve.jsonl")}
    shutil.copy(outside, copies["auditor"])
    for name, path in copies.items():
        if name != place:
            path.unlink()
    put_back(folder, tmp_path / "old")
    before, lines = entries(cfg), copies[place].read_bytes()
    with pytest.raises(HeirloopError) as caught:
        WRITES[what](cfg, folder, go)
    if what != "resume":  # the pause is gone, so there is nothing to resume
        assert caught.value.exit_code == 6 and "heirloop fork RUN --from" in str(caught.value)
    assert entries(cfg) == before and copies[place].read_bytes() == lines
    if what != "resume":
        (noted,) = incident.outside(root, folder)
        assert "is not the one that was signed" in noted.root_cause
        shown = CliRunner().invoke(cli, ["incident", "list", str(folder)]).output
        state = CliRunner().invoke(cli, ["status", str(folder)]).output
        assert "O-1" in shown and "O-1" in state


def test_without_the_check_of_heads_an_older_ledger_is_written_on(cfg, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "_need_heads", lambda *_: None)
    put_back(tmp_path / "runs" / "t", tmp_path / "old")
    assert control.order(open_ledger(tmp_path / "runs" / "t"), "pause", "a", "").sequence


def test_an_act_of_a_person_is_signed_at_once(cfg, tmp_path):
    """A stop on the remains of a dead loop cannot be undone by an older ledger."""
    folder = tmp_path / "runs" / "t"
    last = entries(cfg)[-1]
    assert json.loads(read_lines(folder / "checkpoints.jsonl")[-1])["head"] == last.hash


def test_a_failed_verification_of_an_older_ledger_is_recorded_outside(cfg, tmp_path):
    folder = tmp_path / "runs" / "t"
    put_back(folder, tmp_path / "old")
    for _ in range(2):
        with pytest.raises(VerificationFailed, match="recorded in"):
            verify_and_record(folder)
    assert len(incident.outside(entries(cfg)[0].hash, folder)) == 1


def test_an_emptied_ledger_does_not_begin_again(cfg, go, tmp_path):
    folder = tmp_path / "runs" / "t"
    for table in ("entries", "accounts"):
        change(folder, f"delete from {table}")
    with pytest.raises(VerificationFailed, match="ledger is empty"):
        go(cfg, FakeBox(better))
    assert entries(cfg) == []


@pytest.mark.parametrize("rest", [b'{"sequence":3', b"\n", b""])
def test_a_head_that_broke_off_is_dropped_and_the_next_stands_on_a_line(tmp_path, rest):
    place = tmp_path / "heads.jsonl"
    append_line(place, b'{"a":1}')
    place.write_bytes(place.read_bytes()[: -1 if rest == b"" else None] + rest.strip(b"\n"))
    append_line(place, b'{"a":2}')
    assert read_lines(place) == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_heads_that_are_no_file_are_refused_and_do_not_block(cfg, tmp_path, make):
    place = tmp_path / "runs" / "t" / "checkpoints.jsonl"
    place.unlink()
    make(place)
    with pytest.raises(VerificationFailed, match=r"no regular file|cannot be read"):
        control.order(open_ledger(tmp_path / "runs" / "t"), "pause", "a", "")


def test_spent_that_was_set_back_is_put_back_from_the_entries(cfg, tmp_path):
    folder = tmp_path / "runs" / "t"
    before = Ledger.file(folder / "ledger.sqlite").read(budget.balances)
    change(folder, "update accounts set spent = 0, reserved = 0")
    with pytest.raises(VerificationFailed, match="does not match the entries"):
        verify(folder)
    control.order(open_ledger(folder), "pause", "ada", "")
    after = Ledger.file(folder / "ledger.sqlite")
    assert after.read(budget.balances) == before
    assert sum("derived rows" in str(e.body) for e in after.entries()) == 1
    verify(folder)


def test_a_settlement_beyond_what_is_reserved_changes_nothing(tmp_path):
    ledger = Ledger.file(tmp_path / "l.sqlite", create=True)
    amount = Amount(cpu_us=50, jobs=1)
    with ledger.transaction() as txn:
        budget.open_account(txn, "root", Amount(cpu_us=100, jobs=9))
        budget.reserve_as(txn, "a", ("root",), amount)
        budget.settle_as(txn, "a", ("root",), amount, amount)
    with pytest.raises(VerificationFailed, match="have reserved"), ledger.transaction() as txn:
        budget.settle_as(txn, "a", ("root",), amount, amount)
    rows = ledger.read(budget.balances)["root"]["cpu_us"]
    assert (rows["reserved"], rows["spent"]) == (0, 50)
    assert ledger.read(budget.balances) == charges.replay(ledger.entries())


HOLD = """
import sys, time
from pathlib import Path
from sandbox.lock import Lock
folder = Path(sys.argv[1])
held = Lock(folder); held.hold_folder(folder); held.hold_study(folder, sys.argv[2])
print("held", flush=True); time.sleep(600)
"""


@pytest.mark.parametrize("how", ["as it is", "deleted", "replaced", "a pipe", "copied folder"])
def test_a_second_loop_does_not_get_in(cfg, go, tmp_path, how):
    folder, root = tmp_path / "runs" / "t", entries(cfg)[0].hash
    command = [sys.executable, "-c", HOLD, str(folder), root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as loop:
        try:
            assert loop.stdout.readline() == b"held\n"
            if how in ("deleted", "replaced", "a pipe"):
                (folder / "lock").unlink()
            if how == "replaced":
                (folder / "lock").write_text(f"{os.getpid()}-1")
            if how == "a pipe":
                os.mkfifo(folder / "lock")
            if how == "copied folder":
                shutil.copytree(folder, tmp_path / "copy" / "t")
                cfg = replace(cfg, runs=str(tmp_path / "copy"))
            before = entries(cfg)
            with pytest.raises(Stopped, match="being run by another process"):
                go(cfg, FakeBox(better))
            assert entries(cfg) == before
            assert control.holder(folder) == loop.pid
        finally:
            loop.kill()
    assert control.holder(folder) == 0


def test_without_the_lock_on_the_folder_a_deleted_file_lets_a_second_loop_in(
    cfg, go, tmp_path, monkeypatch
):
    folder = tmp_path / "runs" / "t"
    real = lock.Lock._hold

    def hold(self, file, busy):
        if not os.path.samestat(os.fstat(file), folder.stat()):
            real(self, file, busy)

    monkeypatch.setattr(lock.Lock, "_hold", hold)
    first, second = lock.Lock(folder), lock.Lock(folder)
    first.hold_folder(folder)
    (folder / "lock").unlink()
    second.hold_folder(folder)
    assert first._files and second._files  # each holds a file `lock` of its own
    first.close()
    second.close()


def test_a_lost_study_goes_on_with_the_rest_of_its_budget(cfg, go, tmp_path):
    folder, new = tmp_path / "runs" / "t", tmp_path / "runs" / "t2"
    spent = open_ledger(folder).read(budget.balances)
    head = entries(cfg)[-1].hash
    with pytest.raises(BadInput, match="it was not lost"):
        forks.fork(folder, head, new, "ada", "a try")
    put_back(folder, tmp_path / "old")
    older = entries(cfg)[-1].hash
    with pytest.raises(BadInput, match="newest known head"):
        forks.fork(folder, older, new, "ada", "the disk died")
    command = ["fork", str(folder), "--from", head[:12], "--to", str(new), "--why", "disk died"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    ledger = open_ledger(new)
    root = ledger.entries()[0].fact
    assert isinstance(root, StudyEntry) and root.forked and root.forked.head == head
    left = ledger.read(budget.balances)
    for name, cells in left.items():
        for resource, cell in cells.items():
            old = spent[name][resource]
            rest = cell["limit"] - cell["spent"] - cell["reserved"]
            assert rest == max(0, old["limit"] - old["spent"] - old["reserved"])
    verify(new)
    free = [
        replace(one, body={**one.body, "spent": plain(Amount())})
        if one.kind == "settle" and one.body["key"] == "fork:root"
        else one
        for one in ledger.entries()
    ]
    with pytest.raises(VerificationFailed, match="the account root does not begin with the rest"):
        check_fork(free)
    with pytest.raises(BadInput, match="forked before"):
        forks.fork(folder, head, tmp_path / "runs" / "t3", "ada", "once more")
    put_back(folder, tmp_path / "old")
    heads.places(folder, entries(cfg)[0].hash)[0].unlink()
    heads.places(folder, entries(cfg)[0].hash)[1].unlink()
    with pytest.raises(VerificationFailed, match="forked"):
        control.order(open_ledger(folder), "pause", "ada", "")
    forked = replace(cfg, study=replace(cfg.study, name="t2"))
    mandate(forked)
    summary = go(forked, FakeBox(better))
    assert summary["accounts"]["root"]["jobs"]["spent"] > spent["root"]["jobs"]["spent"]
    verify(new)


def test_a_fork_from_a_head_without_amounts_holds_nothing(cfg, tmp_path):
    """Heads before format 2 tell no amounts: everything is used up."""
    folder, new = tmp_path / "runs" / "t", tmp_path / "runs" / "t2"
    root, last = entries(cfg)[0], entries(cfg)[-1]
    key = keys.signer(keys.load_secret(root.fact.secret))
    head = {"sequence": last.sequence, "head": last.hash, "count": last.sequence}
    head["study"] = root.hash
    signature = key.sign(heads.LABEL + heads.canonical(head)).hex()
    for place in heads.places(folder, root.hash):
        append_line(place, heads.canonical({**head, "signature": signature}))
    put_back(folder, tmp_path / "old")
    record = forks.fork(folder, last.hash, new, "ada", "the disk died")
    assert record.left is None
    ledger = open_ledger(new)
    with pytest.raises(BudgetExhausted), ledger.transaction() as txn:
        budget.reserve(txn, ("root",), Amount(jobs=1))
    verify(new)


@pytest.mark.parametrize("kind", ["left", "signature"])
def test_a_head_with_another_rest_does_not_verify(cfg, tmp_path, kind):
    folder = tmp_path / "runs" / "t"
    root = entries(cfg)[0]
    key = keys.signer(keys.load_secret(root.fact.secret))
    for place in heads.places(folder, root.hash):
        head = json.loads(read_lines(place)[-1])
        del head["signature"]
        head["left"] = {"root": {"jobs": 10**6}}
        signer = key if kind == "left" else Ed25519PrivateKey.generate()
        signature = signer.sign(heads.LABEL + heads.canonical(head)).hex()
        append_line(place, heads.canonical({**head, "signature": signature}))
    words = "another rest" if kind == "left" else "not signed"
    for check in (verify, lambda run: open_verified(run, None)):
        with pytest.raises(VerificationFailed, match=words):
            check(folder)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "summary.json"
    replace_file(file, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


IN_PLACE = ("sandbox/box/", "loop/attack/", "sandbox/files.py")
"""Files that write in place for a reason: kernel files, jobs' folders, and attacks."""


def test_every_derived_file_is_written_beside_and_renamed():
    """`replace_file` and `append_line` write files of the trusted side, but for `ON_THE_SPOT`."""
    wrong, opened = [], []
    for path in [*(ROOT / "sandbox").rglob("*.py"), *(ROOT / "loop").rglob("*.py")]:
        name = str(path.relative_to(ROOT))
        if name.startswith(IN_PLACE):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("write_text", "write_bytes"):
                wrong.append(f"{name}:{node.lineno}")
            if isinstance(node, ast.Call) and re.search(r"\b(fd)?open$", ast.unparse(node.func)):
                modes = [str(one.value) for one in node.args if isinstance(one, ast.Constant)]
                writing = [one for one in modes if re.fullmatch(r"[wax][bt]?\+?|r[bt]?\+", one)]
                opened += [name] * bool(writing)
    assert wrong == [] and sorted(opened) == ON_THE_SPOT


ON_THE_SPOT = [
    "loop/audit/copy.py",
    "loop/calibrate/tab.py",
    "loop/command/failure.py",
    "loop/gatebench/play.py",
    "loop/gatebench/sealed.py",
    "loop/gatebench/sealed.py",
    "loop/people/send.py",
    "sandbox/keys.py",
    "sandbox/store.py",
]
"""Files that write by `open`: new files, private copies, and lines that are added."""


def test_every_ledger_of_a_run_is_opened_behind_the_door():
    """`heads.open_ledger` alone opens ledgers, so no verb can write on an older ledger."""
    places = set()
    for path in [*(ROOT / "sandbox").rglob("*.py"), *(ROOT / "loop").rglob("*.py")]:
        if "Ledger.file(" in path.read_text():
            places.add(str(path.relative_to(ROOT)))
    assert places == {"sandbox/heads.py", "loop/attack/ledger.py", "loop/attack/monitor.py"}


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link", "pipe", "unreadable"])
def test_anything_named_stop_stops_a_study_and_a_resume_takes_it_away(cfg, go, tmp_path, kind):
    folder = tmp_path / "runs" / "t"
    stop = folder / "STOP"
    {
        "file": lambda: stop.write_text("smoke"),
        "folder": stop.mkdir,
        "dangling link": lambda: stop.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(stop),
        "unreadable": lambda: stop.touch(mode=0),
    }[kind]()
    with pytest.raises(Stopped, match="heirloop resume"):
        go(cfg, FakeBox(better))
    acts.resume(folder, "ada")
    assert not os.path.lexists(stop)


@pytest.mark.parametrize("kind", ["folder", "pipe", "fails", "replaced"])
def test_a_watcher_ends_the_study_whatever_it_meets(tmp_path, go, monkeypatch, kind):
    cfg, folder = config(tmp_path), tmp_path / "runs" / "t"
    mandate(cfg)

    class Slow(FakeBox):
        def run(self, execution):
            if len(self.ran) == 3:
                {
                    "folder": lambda: (folder / "STOP").mkdir(exist_ok=True),
                    "pipe": lambda: (folder / "STOP").exists() or os.mkfifo(folder / "STOP"),
                    "fails": lambda: monkeypatch.setattr(
                        session, "_obey", lambda _: {}["what it met"]
                    ),
                    "replaced": lambda: replace_file(
                        folder / "ledger.sqlite", (folder / "ledger.sqlite").read_bytes()
                    ),
                }[kind]()
                for _ in range(200):
                    if self.stopped:
                        break
                    session.time.sleep(0.05)
            return super().run(execution)

        stopped = False

        def stop(self):
            self.stopped = True

    box = Slow(better)
    with pytest.raises((Stopped, VerificationFailed)) as caught:
        go(cfg, box, session.execute)
    assert box.stopped and len(box.ran) < 20
    if kind == "fails":
        assert "could not be followed" in str(caught.value)
    if kind == "replaced":
        assert "was replaced" in str(caught.value)
    elif kind != "replaced":
        assert requests.open_gate(folder).memory.halt == "stop"


def test_a_stop_of_an_ended_run_and_a_second_stop_change_nothing(cfg, tmp_path):
    folder = tmp_path / "runs" / "t"
    before = entries(cfg)
    assert control.stop(folder, "ada", "again")["order"] == control.ENDED
    assert entries(cfg) == before


def test_a_stop_kills_before_it_reads_a_ledger_that_does_not_verify(cfg, tmp_path, monkeypatch):
    folder, killed = tmp_path / "runs" / "t", []
    monkeypatch.setattr(control, "kill_jobs", lambda pid, study: killed.append(pid) or 1)
    change(folder, "update entries set bytes = replace(bytes, 'time', 'tine') where sequence = 5")
    before = stored(folder)
    for act in (control.stop, lambda *words: control.hold(words[0], "pause", *words[1:])):
        with pytest.raises(VerificationFailed, match="is stopped"):
            act(folder, "ada", "it must end")
    assert killed and (folder / "STOP").read_text().startswith("ada")
    assert stored(folder) == before
    assert (
        "a stop that was not recorded"
        in incident.outside(entries_root(folder), folder)[0].root_cause
    )


def entries_root(folder):
    return control.read_root(folder)


@pytest.mark.parametrize(
    "sql", ["drop table accounts", "drop table entries", "update entries set bytes = x'00'"]
)
def test_a_stop_of_a_damaged_ledger_is_one_sentence(cfg, tmp_path, sql):
    folder = tmp_path / "runs" / "t"
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute(sql)
    for verb in ("stop", "pause"):
        result = CliRunner().invoke(cli, [verb, str(folder)])
        ended = "accounts" in sql  # the entries hold, so the run is known to have ended
        assert isinstance(result.exception, HeirloopError) or (ended and verb == "stop")
        assert "is stopped" in str(result.exception) or ended
    assert (folder / "STOP").exists() or ended


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_run_on_a_network_file_system_is_refused_before_anything_is_written(
    tmp_path, go, monkeypatch, kind
):
    """The kernel's list names the disk of another machine, with a space in its path, below a local
    one.
    """
    far = tmp_path / "far away"
    far.mkdir()
    octal = str(far).replace(" ", r"\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"44 21 0:50 / {octal} rw shared:9 - {kind} host:/x rw\n"
    )
    monkeypatch.setattr(disk, "MOUNTS", mounts)
    cfg = replace(config(tmp_path), runs=str(far / "runs"))
    mandate(cfg)
    with pytest.raises(BadInput, match=rf"network file system \({kind}\).*runs=FOLDER"):
        go(cfg, FakeBox(better))
    assert not (far / "runs").exists()
    cfg = config(tmp_path)
    assert go(cfg, FakeBox(better))["finished"]
