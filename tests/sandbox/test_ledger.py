import itertools
import multiprocessing
import os
import random
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from servers import FilePlace

from configs.entries import EndEntry
from configs.errors import BadEntry, BudgetExhausted, Stopped, VerificationFailed
from configs.records import RESOURCES, Amount
from configs.settings.budget import Budget
from sandbox import budget, charges, keys
from sandbox.canonical import digest
from sandbox.database import Database
from sandbox.heads import check_checkpoints, checkpoint
from sandbox.ledger import Ledger
from sandbox.store import Store

THIRD = sa.text("select bytes from entries where sequence = 3")
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def fill(place, count=5):
    ledger = place.create()
    for number in range(count):
        ledger.append("note", {"number": number, "text": "line\nbreak \x1b[31m"})
    return ledger


def test_entries_chain_and_survive_reopening(place):
    fill(place).close()
    entries = place.open().entries()
    assert [e.sequence for e in entries] == [1, 2, 3, 4, 5]
    assert all(b.previous == a.hash for a, b in itertools.pairwise(entries))


@pytest.mark.durable
def test_a_ledger_and_a_store_wait_for_the_disk_unless_the_study_spends_nothing(
    tmp_path, monkeypatch
):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for durable, level, count in ((True, 2, 1), (False, 0, 0)):
        made = Ledger.file(tmp_path / f"{durable}.sqlite", create=True, durable=durable)
        with made.transaction() as txn:
            assert txn.connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
        Store(tmp_path / str(durable), durable).put(b"bytes")
        assert len(synced) == count
        synced.clear()
    assert Ledger.file.__kwdefaults__["durable"] is Store.__init__.__defaults__[0] is True
    with Ledger(
        Database(f"sqlite:///{tmp_path}/url.sqlite", 1, True), create=True
    ).transaction() as txn:
        assert txn.connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_heads_of_campaigns_side_by_side_stand_in_the_order_of_entries(place, tmp_path):
    """A campaign that is slow to sign its head must not write it behind a later one: `verify` would
    call the run broken.
    """
    ledger, heads, others = fill(place), tmp_path / "heads.jsonl", []

    class Slow:
        public_key = KEY.public_key

        def sign(self, message):
            def later():
                ledger.append("note", {"number": 6})
                checkpoint(ledger, KEY, (heads,))

            others.append(threading.Thread(target=later))
            others[0].start()
            others[0].join(1.0)
            return KEY.sign(message)

    checkpoint(ledger, Slow(), (heads,))
    others[0].join()
    public = KEY.public_key().public_bytes_raw().hex()
    assert check_checkpoints(ledger.entries(), public, heads) == [5, 6]


def other_number(place):
    """Change a number in entry 3; return how many rows changed."""
    data = (
        place.open().read(lambda c: c.execute(THIRD).scalar()).replace(b'"number":2', b'"number":7')
    )
    return place.change("update entries set bytes = ? where sequence = 3", (data,))


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (None, "entry 3"),
        ("update entries set hash = '00' where sequence = 2", "entry 2"),
        ("delete from entries where sequence = 2", "entry 2"),
        ("update entries set sequence = 9 where sequence = 5", "entry 5"),
        ("delete from entries where sequence = 1", "entry 1"),
    ],
)
def test_a_changed_ledger_does_not_open(place, sql, words):
    fill(place).close()
    assert (place.change(sql) if sql else other_number(place)) == 1
    with pytest.raises(VerificationFailed, match=words):
        place.open()


def test_every_byte_of_an_entry_is_inside_its_hash(tmp_path):
    place = FilePlace(tmp_path / "l.sqlite")
    (entry,) = fill(place, 1).entries()
    with sqlite3.connect(place.path) as connection:
        (data,) = connection.execute("select bytes from entries").fetchone()
        assert digest(data) == entry.hash
        for at in range(len(data)):
            changed = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
            connection.execute("update entries set bytes = ?", (changed,))
            connection.commit()
            with pytest.raises(VerificationFailed):
                place.open()


def test_a_cut_tail_is_found_by_the_signed_head_and_only_by_it(place, tmp_path):
    ledger, heads = fill(place), tmp_path / "heads.jsonl"
    checkpoint(ledger, KEY, (heads,))
    public = keys.public_hex(KEY)
    assert check_checkpoints(ledger.entries(), public, heads) == [5]
    ledger.close()
    place.change("delete from entries where sequence > 3")
    cut = place.open().entries()
    assert len(cut) == 3
    with pytest.raises(VerificationFailed, match="entries 4 to 5 are missing"):
        check_checkpoints(cut, public, heads)
    heads.write_text(heads.read_text().replace('"count":5', '"count":3'))
    with pytest.raises(VerificationFailed, match="not signed"):
        check_checkpoints(cut, public, heads)


def test_a_head_of_the_first_entry_counts(place, tmp_path):
    ledger, heads = fill(place, 1), tmp_path / "heads.jsonl"
    checkpoint(ledger, KEY, (heads,))
    assert check_checkpoints(ledger.entries(), keys.public_hex(KEY), heads) == [1]


@pytest.mark.parametrize(
    "sql",
    [
        "insert into entries select * from entries where sequence = 2",
        "update entries set hash = null",
        "update entries set bytes = null",
    ],
)
def test_the_database_itself_takes_no_second_entry_of_a_number_and_no_empty_cell(place, sql):
    fill(place).close()
    with pytest.raises(place.broken):
        place.change(sql)


def test_a_ledger_that_another_process_holds_stops_the_study_with_the_way_out(place):
    fill(place).close()
    holder = place.open()
    waiter = place.open(timeout=0.01)
    with holder.transaction(), pytest.raises(Stopped, match=r"another process.*heirloop stop"):
        waiter.append("note", {})
    assert waiter.append("note", {}).sequence == 6


def test_missing_and_corrupt_files_are_refused(tmp_path):
    with pytest.raises(VerificationFailed, match="no ledger"):
        Ledger.file(tmp_path / "none.sqlite")
    (tmp_path / "bad.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(VerificationFailed, match="cannot be read"):
        Ledger.file(tmp_path / "bad.sqlite")


def test_the_store_refuses_wrong_bytes(tmp_path):
    store = Store(tmp_path)
    name = store.put(b"right")
    assert store.get(name) == b"right"
    (tmp_path / name[:2] / name[2:]).write_bytes(b"wrong")
    with pytest.raises(VerificationFailed, match="wrong bytes"):
        store.get(name)
    with pytest.raises(VerificationFailed, match="no digest"):
        store.get("../../etc/passwd")
    bad = store.put(b'{"../evil.py":"' + store.put(b"x").encode() + b'"}')
    with pytest.raises(VerificationFailed, match="no bundle may hold"):
        store.get_bundle(bad)


def accounts(place, jobs=10):
    ledger = place.create()
    with ledger.transaction() as txn:
        budget.open_study(txn, Budget(cpu_seconds=100, wall_seconds=100, jobs=jobs, output_mib=1))
    return ledger


def test_a_refused_reservation_reserves_nothing(place):
    ledger = accounts(place)
    with pytest.raises(BudgetExhausted, match="cpu_us left"), ledger.transaction() as txn:
        budget.reserve_as(txn, "a", ("root", "train"), Amount(jobs=1, cpu_us=100_000_001))
    assert ledger.read(budget.balances)["root"]["jobs"]["reserved"] == 0
    assert ledger.read(budget.balances) == charges.replay(ledger.entries())


def test_balances_equal_their_replay(place):
    ledger = accounts(place)
    held, used = Amount(cpu_us=50, jobs=1), Amount(cpu_us=70, jobs=1)
    with ledger.transaction() as txn:
        budget.reserve_as(txn, "a", ("root", "train"), held)
    with ledger.transaction() as txn:
        budget.settle_as(txn, "a", ("root", "train"), held, used)
    root = ledger.read(budget.balances)["root"]
    assert root["cpu_us"] == {"limit": 100_000_000, "reserved": 0, "spent": 70}
    assert ledger.read(budget.balances) == charges.replay(ledger.entries())


def hammer(place, tries, slot, careless):
    """Reserve and settle until killed; count the tries. Careless: look first, then take, in two
    transactions.
    """
    ledger, chance = place.open(), random.Random(os.urandom(8))
    while True:
        payers, held = ("root", "train"), Amount(cpu_us=100, jobs=1)
        try:
            if careless:
                root = ledger.read(budget.balances)["root"]["cpu_us"]
                if root["limit"] - root["spent"] - root["reserved"] >= held.cpu_us:
                    time.sleep(0.02)  # what others take meanwhile is not seen
                    with ledger.transaction() as txn:
                        txn.connection.execute(
                            budget.BALANCES.update()
                            .where(budget.BALANCES.c.resource == "cpu_us")
                            .values(reserved=budget.BALANCES.c.reserved + held.cpu_us)
                        )
            else:
                with ledger.transaction() as txn:
                    budget.reserve_as(txn, str(slot), payers, held)
                if chance.random() < 0.8:  # else it is never settled, as after a crash
                    with ledger.transaction() as txn:
                        budget.settle_as(
                            txn,
                            str(slot),
                            payers,
                            held,
                            Amount(cpu_us=chance.randrange(40, 101), jobs=1),
                        )
        except BudgetExhausted:
            pass
        tries[slot] += 1


def hammered(place, workers, wanted, careless=False):
    """Run workers, kill one at random again and again, until so many tries are made; return how
    many were killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sandbox.budget", "sandbox.heads"])
    tries, killed = context.Array("q", workers, lock=False), 0

    def start(slot):
        process = context.Process(target=hammer, args=(place, tries, slot, careless), daemon=True)
        process.start()
        return process

    live = [start(slot) for slot in range(workers)]
    slower = 1 if place.kind == "sqlite" else 5  # a process needs longer until it is connected
    while sum(tries) < wanted or killed < 5:
        time.sleep(random.uniform(0.05, 0.4) * slower)
        slot = random.randrange(workers)
        assert live[slot].is_alive(), "a worker ended by itself"
        live[slot].kill()
        live[slot].join()
        live[slot], killed = start(slot), killed + 1
    for process in live:
        process.kill()
        process.join()
    return killed


@pytest.mark.durable
def test_many_processes_and_kills_cannot_pass_a_limit_together(place):
    limit = 300_000 if place.kind == "sqlite" else 20_000
    ledger = place.create()
    with ledger.transaction() as txn:
        for name in ("root", "train"):
            budget.open_account(txn, name, Amount(cpu_us=limit, jobs=1_000_000))
    ledger.close()
    workers, tries = (16, 10_000) if place.kind == "sqlite" else (4, 500)
    killed = hammered(place, workers, tries)
    ledger = place.open()  # the chain holds after every kill
    entries, root, free = ledger.entries(), ledger.read(budget.balances)["root"]["cpu_us"], limit
    assert killed >= 5 and len([e for e in entries if e.kind == "reserve"]) > 0.3 * tries
    for entry in entries:  # at every moment, not at the end alone
        free -= entry.body["amount"]["cpu_us"] if entry.kind == "reserve" else 0
        free += (
            entry.body["released"]["cpu_us"] - entry.body["spent"]["cpu_us"]
            if entry.kind == "settle"
            else 0
        )
        assert free >= 0
    assert limit - 100 < root["spent"] + root["reserved"] <= limit
    assert ledger.read(budget.balances) == charges.replay(entries)


def test_looking_before_taking_in_two_transactions_passes_the_limit(tmp_path):
    """The same hammer on a careless account: it shows that the test above can fail."""
    place = FilePlace(tmp_path / "l.sqlite")
    ledger = accounts(place, jobs=1000)
    with ledger.transaction() as txn:
        txn.connection.execute(
            budget.BALANCES.update()
            .where(budget.BALANCES.c.resource == "cpu_us")
            .values(limit=2_000)
        )
    ledger.close()
    for _ in range(20):
        hammered(place, 8, 200, careless=True)
        root = place.open().read(budget.balances)["root"]["cpu_us"]
        if root["reserved"] > root["limit"]:
            return
        with place.open().transaction() as txn:
            txn.connection.execute(budget.BALANCES.update().values(reserved=0))
    raise AssertionError("eight careless workers never passed the limit")


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_resource_has_a_hard_limit(place, resource):
    ledger = place.create()
    with ledger.transaction() as txn:
        budget.open_account(txn, "root", Amount(**dict.fromkeys(RESOURCES, 10)))
        budget.reserve_as(txn, "a", ("root",), Amount(**{resource: 10}))
    with pytest.raises(BudgetExhausted, match=f"0 {resource} left"), ledger.transaction() as txn:
        budget.reserve_as(txn, "b", ("root",), Amount(**{resource: 1}))


def test_entries_that_left_memory_are_read_and_checked_again(place, monkeypatch):
    monkeypatch.setattr("sandbox.ledger.KEPT", 4)
    ledger = fill(place, 30)
    for number in range(3):
        ledger.append("more", {"number": number})
        assert [e.sequence for e in ledger.since(29 + number)] == [*range(30 + number, 32 + number)]
    assert len(ledger._recent) <= 9
    assert [e.sequence for e in ledger.since(20)] == [*range(21, 34)] and [
        e.sequence for e in ledger.entries()
    ] == [*range(1, 34)]
    ledger.append("last", {})
    ledger.since(33)
    assert len(ledger._recent) <= 9
    other_number(place)
    with pytest.raises(VerificationFailed, match="entry 3"):
        ledger.entries()


def test_entries_in_memory_are_all_there_and_are_not_read_again(place, tmp_path, monkeypatch):
    """A study's first transaction, too, need not read its own entries back."""
    monkeypatch.chdir(tmp_path)
    ledger = place.create()
    first = ledger.append("note", {})

    def read(*_):
        raise AssertionError("rows are read")

    monkeypatch.setattr("sandbox.ledger.chained", read)
    assert ledger.since(0) == [first] and ledger.since(1) == []
    left = {"l.sqlite"} if place.kind == "sqlite" else set()
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == left


def test_a_transaction_sees_old_entries_and_its_own(place):
    ledger = fill(place, 3)
    with ledger.transaction() as txn:
        txn.append("own", {})
        assert [entry.kind for entry in txn.entries()] == ["note"] * 3 + ["own"]
    assert [entry.sequence for entry in ledger.entries()] == [1, 2, 3, 4]


@pytest.mark.parametrize("fact", [EndEntry(reason="over"), "note"])
def test_a_timeless_entry_has_the_same_hash_whenever_it_is_written(tmp_path, fact):
    hashes = []
    for name in "ab":
        with Ledger.file(tmp_path / f"{name}.sqlite", create=True).transaction() as txn:
            entry = txn.append(fact, None, timeless=True)
            assert entry.time.startswith("1970-01-01") and entry.monotonic_us == 0
            hashes.append(entry.hash)
    assert hashes[0] == hashes[1]


def test_what_another_process_writes_is_seen_at_once(place):
    mine = fill(place, 3)
    other = place.open()
    other.append("theirs", {})
    assert (
        [e.kind for e in mine.since(3)] == ["theirs"]
        and mine.append("mine", {}).sequence == 5
        and other.head().sequence == 5
    )


def test_a_refused_reservation_changes_no_account_though_its_transaction_goes_on(place):
    ledger = place.create()
    with ledger.transaction() as txn:
        budget.open_account(txn, "root", Amount(cpu_us=100, jobs=1))
        budget.open_account(txn, "train", Amount(cpu_us=10, jobs=1))
    with ledger.transaction() as txn:
        with pytest.raises(
            BudgetExhausted, match="account train has 10 cpu_us left; the job needs 50"
        ):
            budget.reserve_as(txn, "k", ("root", "train"), Amount(cpu_us=50))
        with pytest.raises(BudgetExhausted, match="account nobody has 0 cpu_us left"):
            budget.reserve_as(txn, "k", ("root", "nobody"), Amount(cpu_us=5))
    assert all(
        cell["reserved"] == 0
        for account in ledger.read(budget.balances).values()
        for cell in account.values()
    )


def test_a_record_that_could_not_be_read_back_is_not_written(place):
    ledger = place.create()
    written = ledger.append(EndEntry(reason="every campaign ended"))
    assert (written.kind, written.body) == ("end", {"reason": "every campaign ended"})
    with pytest.raises(BadEntry, match="entry 2 is no entry of kind end: reason is 1"):
        ledger.append(EndEntry(reason=1))
    assert [e.fact for e in ledger.entries()] == [EndEntry(reason="every campaign ended")]
    assert ledger.append("note", {}).sequence == 2  # such as the next version may write


def test_a_store_file_that_changes_after_it_was_read_is_read_and_checked_again(tmp_path):
    store = Store(tmp_path)
    name = store.put(b"bytes")
    assert store.get(name) == store.get(name) == b"bytes"
    path = store._path(name)
    status = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(VerificationFailed, match="wrong bytes"):
        store.get(name)
    path.unlink()
    with pytest.raises(VerificationFailed, match="missing"):
        store.get(name)


def test_bytes_just_stored_are_held_and_their_file_is_checked_all_the_same(tmp_path, monkeypatch):
    store = Store(tmp_path)
    name = store.put(b"bytes")
    with monkeypatch.context() as patch:
        patch.setattr("sandbox.store.read_file", lambda _: pytest.fail("it was read"))
        assert store.get(name) == b"bytes"
    store._path(name).write_bytes(b"BYTES")
    with pytest.raises(VerificationFailed, match="wrong bytes"):
        store.get(name)


def test_a_store_holds_few_bytes_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("sandbox.store.HELD_BYTES", 16 * 612)
    store = Store(tmp_path)
    names = [store.put(bytes([number]) * 100) for number in range(30)] + [store.put(b"x" * 613)]
    for name in names * 2:
        store.get(name)
    assert len(store._held) == 16 and names[-1] not in store._held
    assert store._size == sum(len(data) + 512 for data, _ in store._held.values())


def test_a_ledger_goes_on_after_a_transaction_that_broke_off(place):
    ledger = fill(place, 1)
    with pytest.raises(RuntimeError), ledger.transaction() as txn:
        txn.append("note", {})
        raise RuntimeError
    with ledger.transaction() as txn:  # from two threads at a time: each has its turn
        thread = threading.Thread(target=ledger.append, args=("theirs", {}))
        thread.start()
        txn.append("mine", {"small": 1e-7, "large": 1e22, "whole": 2.0, "b": (1, -0.0), "a": "😀"})
    thread.join()
    live = ledger.entries()
    assert [e.kind for e in live] == ["note", "mine", "theirs"]
    assert live == place.open().entries()
