"""Properties: one changed field after approval and nothing runs; one changed byte, entry or order
of the record and it does not verify.
"""

import gc
import json
import shutil
import sqlite3
from dataclasses import replace

import pytest
from fakes import FakeBox
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studies import accept, approve, better, config, mandate, real_judge, waiting
from tampering import Edited, fails, leaves, mutated, rewritten, second

from configs.build import parse, plain
from configs.entries import Entry
from configs.errors import Denied, HeirloopError, NeedsHuman, VerificationFailed
from configs.records import Grant, Job
from loop import course
from loop.measure import confirm
from loop.verify.decisions import CHECKS
from loop.verify.run import verify
from sandbox import gate as gates
from sandbox import keys
from sandbox import run as door
from sandbox.canonical import digest
from sandbox.gate import Gate
from sandbox.ledger import Ledger
from sandbox.run import Sandbox, run
from sandbox.store import Store

FEW = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def done(tmp_path, go, monkeypatch, copied):
    """A finished study with champions; the folder of its run."""
    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))

    def make(folder):
        cfg = config(folder)
        mandate(cfg)
        go(cfg, FakeBox(better))

    copied(make)
    verify(tmp_path / "runs" / "t")
    return tmp_path / "runs" / "t"


class Door:
    """A study whose plan is granted and whose first job has not run: the door, its job, its grant,
    and a box that counts.
    """

    def __init__(self, tmp_path, go, monkeypatch):
        self.box, self.job, self.grant = FakeBox(better), None, None
        real = door._check

        def stop(sandbox, job, grant):
            self.job, self.grant = job, grant
            raise KeyboardInterrupt

        monkeypatch.setattr(door, "_check", stop)
        cfg = config(tmp_path)
        mandate(cfg)
        with pytest.raises(KeyboardInterrupt):
            go(cfg, self.box)
        monkeypatch.setattr(door, "_check", real)
        ledger, store = (
            Ledger.at(tmp_path / "runs" / "t"),
            Store(tmp_path / "runs" / "t" / "store"),
        )
        self.sandbox = Sandbox(
            ledger=ledger, store=store, box=self.box, gate=Gate(ledger, store).refresh()
        )

    def try_(self, job=None, grant=None):
        """Send a job through the door; it must be refused and the box untouched."""
        with pytest.raises(HeirloopError):
            run(self.sandbox, job or self.job, grant or self.grant)
        assert self.box.ran == []


@pytest.fixture
def opened(tmp_path, go, monkeypatch):
    return Door(tmp_path, go, monkeypatch)


def test_any_one_field_of_a_plan_that_changes_after_its_approval_leaves_nothing_to_run(opened):
    """Each leaf, nested ones too: as another plan it has no decision; under the old digest the gate
    does not take it.
    """
    gate, name = opened.sandbox.gate, opened.grant.plan
    whole = plain(gate.memory.plans[name])
    paths = list(leaves(whole))
    assert {"recipe", "jobs", "requested", "bundle", "hypothesis", "objective", "steps"} <= {
        path[0] for path in paths
    } and len(paths) > 40
    last = gate.ledger.entries()[-1]
    for path in paths:
        changed = mutated(whole, path)
        fresh = digest(changed)
        assert fresh != name
        with pytest.raises(Denied, match="no recorded plan"):
            gate.grant(fresh)
        opened.try_(replace(opened.job, plan=fresh), replace(opened.grant, plan=fresh))
        with pytest.raises(VerificationFailed, match="does not match its digest"):
            gates.fold.fold(
                gate.memory, replace(last, kind="plan", body={"digest": name, "plan": changed})
            )
    gate.memory.sequence = last.sequence
    run(opened.sandbox, opened.job, opened.grant)
    assert len(opened.box.ran) == 1  # the same door lets the plan itself pass


def test_a_recorded_plan_that_differs_in_one_field_needs_a_decision_of_its_own(tmp_path, go):
    """The ablation of the above on people's side: yesterday's approval is for yesterday's bytes."""
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "autonomy=assisted", "gates=attended")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    (name,) = waiting(cfg)
    approve(cfg, name, "recipe")
    folder = tmp_path / "runs" / "t"
    gate = Gate(Ledger.at(folder), Store(folder / "store")).refresh()
    for change in (
        {"hypothesis": "x"},
        {"steps": gate.memory.plans[name].steps + 1},
        {"recipe": replace(gate.memory.plans[name].recipe, depth=1)},
        {"requested": replace(gate.memory.plans[name].requested, jobs=9)},
        {"jobs": ()},
    ):
        other = replace(gate.memory.plans[name], **change)
        gate.ledger.append("plan", {"digest": digest(other), "plan": plain(other)})
        with pytest.raises((NeedsHuman, Denied), match=r"0 of 1|plans other steps"):
            gate.grant(digest(other))
    gate.grant(name)
    assert (name, "recipe") in gate.refresh().memory.allowed


def test_any_one_field_of_a_job_or_grant_that_changes_is_refused_at_the_door(opened):
    """All but the seed, which the trusted side draws after the approval."""
    for kind, record in ((Job, opened.job), (Grant, opened.grant)):
        for path in leaves(plain(record)):
            if path == ("order", "seed") or (path[:1] == ("inputs",) and path[-1] != "digest"):
                continue
            try:
                changed = parse(kind, mutated(plain(record), path))
            except HeirloopError:
                continue  # it is no such record at all
            opened.try_(**{"job" if kind is Job else "grant": changed})
    run(opened.sandbox, opened.job, opened.grant)
    assert len(opened.box.ran) == 1


def test_without_the_comparison_at_the_door_a_changed_job_would_run(opened, monkeypatch):
    monkeypatch.setattr(door, "allowed", lambda *_: True)
    run(
        opened.sandbox,
        replace(opened.job, limits=replace(opened.job.limits, memory_bytes=9 * 10**9)),
        opened.grant,
    )
    assert len(opened.box.ran) == 1


@FEW
@given(data=st.data())
def test_any_byte_of_the_bundle_that_changes_leaves_nothing_to_run(opened, data):
    store = opened.sandbox.store
    names = [
        opened.job.bundle,
        *sorted(json.loads(store.get(opened.job.bundle)).values()),
        *(i.digest for i in opened.job.inputs),
    ]
    path = store._path(data.draw(st.sampled_from(names)))
    kept = path.read_bytes()
    at = data.draw(st.integers(0, len(kept) - 1))
    path.write_bytes(
        kept[:at] + bytes([kept[at] ^ data.draw(st.integers(1, 255))]) + kept[at + 1 :]
    )
    try:
        opened.try_()
    finally:
        path.write_bytes(kept)


@FEW
@given(data=st.data())
def test_any_bit_of_any_byte_of_any_entry_is_found_and_the_entry_named(done, data):
    with Edited(done) as connection:
        (count,) = connection.execute("select max(sequence) from entries").fetchone()
        number = data.draw(st.integers(1, count))
        column = data.draw(st.sampled_from(["bytes", "bytes", "bytes", "hash"]))
        (kept,) = connection.execute(
            f"select {column} from entries where sequence = ?", (number,)
        ).fetchone()
        raw = kept.encode() if isinstance(kept, str) else kept
        at = data.draw(st.integers(0, len(raw) - 1))
        changed = raw[:at] + bytes([raw[at] ^ 1 << data.draw(st.integers(0, 6))]) + raw[at + 1 :]
        connection.execute(
            f"update entries set {column} = ? where sequence = ?",
            (changed.decode() if column == "hash" else changed, number),
        )
        fails(done, f"entry ({number}|{number + 1}) ")


@FEW
@given(data=st.data())
def test_a_cut_tail_a_missing_entry_and_another_order_are_found(done, data):
    with Edited(done) as connection:
        (count,) = connection.execute("select max(sequence) from entries").fetchone()
        number = data.draw(st.integers(2, count - 1))
        how = data.draw(st.sampled_from(["cut", "delete", "swap"]))
        if how == "swap":
            for old, new in ((number, 10**6), (number + 1, number), (10**6, number + 1)):
                connection.execute("update entries set sequence = ? where sequence = ?", (new, old))
        else:
            connection.execute(
                f"delete from entries where sequence {'>=' if how == 'cut' else '='} ?", (number,)
            )
        fails(done, f"entr(y|ies) {number}")


ACTS = (
    "plan",
    "mandate",
    "decision",
    "start",
    "job",
    "account",
    "champion",
    "verdict",
    "end",
)


def test_an_entry_that_is_written_a_second_time_is_found_even_with_a_whole_hash(done, monkeypatch):
    for kind in ACTS:
        with Edited(done):
            fails(done, f"entry {second(done, kind)} ")
    monkeypatch.setitem(CHECKS, "verdict", lambda replay, fact: None)
    monkeypatch.setitem(CHECKS, "champion", lambda replay, fact: None)
    with Edited(done):
        second(done, "verdict")
        verify(done)  # the ablation: without its check the repeated verdict passes


@pytest.mark.parametrize("heads", ["kept", "rolled back too"])
def test_an_older_copy_of_the_database_is_found(tmp_path, go, monkeypatch, heads):
    """B10, U05: the file is rolled back to what it was after the first generation, with or without
    the run's own heads.
    """
    folder, old = tmp_path / "runs" / "t", tmp_path / "old"
    real = course.generation

    def generation(campaign, number):
        real(campaign, number)
        if number == 1:
            with sqlite3.connect(folder / "ledger.sqlite") as connection:
                connection.execute("vacuum into ?", (str(old),))
            shutil.copy(folder / "checkpoints.jsonl", tmp_path / "heads")

    monkeypatch.setattr(course, "generation", generation)
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    for one in folder.glob("ledger.sqlite*"):
        one.unlink()
    shutil.copy(old, folder / "ledger.sqlite")
    if heads != "kept":
        shutil.copy(tmp_path / "heads", folder / "checkpoints.jsonl")
    fails(folder, r"entries \d+ to \d+ are missing")


def test_a_decision_s_every_field_is_derived_again(done):
    """Each leaf of each kind of yes, changed and with whole hashes, fails."""
    entries = Ledger.at(done).entries()
    first = next(e for e in entries if e.kind == "decision")
    for path in leaves(first.body):
        copy = rewritten(done, entries, first.place, mutated(first.body, path))
        fails(copy, f"entry {first.sequence} ")


def test_a_rewritten_history_that_says_the_same_verifies(done):
    """So that the test above fails by what was changed, and not by being rewritten."""
    entries = Ledger.at(done).entries()
    first = next(e for e in entries if e.kind == "decision")
    verify(rewritten(done, entries, first.place, first.body))


def test_verifying_leaves_the_collector_of_cycles_as_it_was(done):
    for act in (gc.enable, gc.disable):
        act()
        before = gc.isenabled()
        verify(done)
        assert gc.isenabled() == before
    gc.enable()
    (done / "summary.json").write_text("{")
    with pytest.raises(VerificationFailed, match="no summary"):
        verify(done)
    assert gc.isenabled()


FLOOD = 10_000


def test_ten_thousand_requests_are_refused_at_a_constant_price_and_people_see_one_line(
    done, monkeypatch
):
    ledger, store = Ledger.at(done), Store(done / "store")
    gate = Gate(ledger, store).refresh()
    name = next(iter(gate.memory.plans))
    with ledger.transaction() as txn:
        plans = [
            replace(gate.memory.plans[name], index=100 + i, purpose="candidate", parent=name)
            for i in range(FLOOD)
        ]
        for one in plans:
            txn.append("plan", {"digest": digest(one), "plan": plain(one)})
    gate.refresh()
    before, counted = len(ledger.entries()), {"folded": 0, "copied": 0, "asked": 0}

    def count(place, attribute, what):
        real = getattr(place, attribute)
        monkeypatch.setattr(
            place,
            attribute,
            lambda *a, **k: (counted.__setitem__(what, counted[what] + 1), real(*a, **k))[1],
        )

    count(gates.fold, "fold", "folded")
    count(Ledger, "entries_by", "copied")
    count(gates.requests, "is_settled", "asked")
    refused = 0
    for one in plans:
        try:
            gate.request(digest(one), one.change_class)
        except Denied:
            refused += 1
    gate.refresh()
    added = ledger.entries()[before:]
    cap = gate.memory.rules.config.gates.pending_per_arm
    assert (refused, len(gate.pending())) == (FLOOD - cap, cap)
    assert [e.body["title"] for e in added if e.kind == "incident"] == [
        f"request flood: more than {cap} requests of arm local waiting (gates.pending_per_arm)"
    ]
    assert (
        counted["folded"] == len(added) == FLOOD + 1
    )  # each entry is read once, however many there are
    assert counted["copied"] <= 6 and counted["asked"] <= (cap + 1) * (
        FLOOD + 1
    )  # the whole ledger is not gone through for a refusal
    assert gates.refusals.REFUSALS_PER_HOUR > 0 and isinstance(added[0], Entry)
