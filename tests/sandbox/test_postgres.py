"""A ledger on a server: what a file never meets. The contract of both is in test_ledger.py."""

import os
import sqlite3
import sys
import threading

import pytest
from servers import PASSWORD, SCHEMA, ServerPlace

from configs.errors import BadInput, Stopped, VerificationFailed
from sandbox import address, keys, postgres
from sandbox.address import (
    NAME,
    Address,
    has_ledger,
    list_runs,
    make_address,
    need_url,
    read_address,
    remember,
    write_address,
)
from sandbox.heads import open_ledger, open_server
from sandbox.postgres_errors import explain


@pytest.fixture
def server(cluster):
    return ServerPlace(cluster, cluster.new_database())


@pytest.fixture
def made(server):
    server.create().append("note", {"number": 1})
    return server


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE entries RENAME COLUMN bytes TO data", "not the plain table of a ledger"),
        ("ALTER TABLE entries ALTER COLUMN bytes TYPE text USING hash", "not the plain table"),
        ("ALTER TABLE entries ADD COLUMN x int GENERATED ALWAYS AS (1) STORED", "not the plain"),
        ("ALTER TABLE entries ADD CHECK (sequence > 0)", "not the plain table"),
        ("ALTER TABLE accounts ENABLE ROW LEVEL SECURITY", "the table accounts"),
        ("CREATE INDEX i ON entries ((abs(sequence)))", "not the plain table"),
        ("DROP TABLE accounts", "no table accounts"),
        (
            "ALTER TABLE entries RENAME TO other; CREATE VIEW entries AS TABLE other",
            "not the plain",
        ),
        (
            "CREATE RULE r AS ON INSERT TO entries DO INSTEAD NOTHING",
            "the table entries in schema heirloop_t",
        ),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
            " CREATE TRIGGER t BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION f()",
            "not the plain table",
        ),
        (f"DROP SCHEMA {SCHEMA} CASCADE", "no ledger in schema heirloop_t"),
    ],
)
def test_a_schema_holds_the_plain_tables_of_a_ledger(made, change, said):
    database = made.address.url.rpartition("/")[2]
    made.cluster.ask(f"SET search_path TO {SCHEMA}; {change}", database)
    with pytest.raises(VerificationFailed, match=said):
        made.open()


def test_a_row_of_any_length_is_not_read(made, monkeypatch):
    monkeypatch.setattr(postgres, "ROW_BYTES", 10_000)
    made.change("update entries set bytes = convert_to(repeat('x', 20000), 'UTF8')")
    with pytest.raises(VerificationFailed, match="entry 1 of the ledger is longer"):
        made.open()


def test_a_server_that_breaks_off_in_a_transaction_leaves_nothing_half_written(made):
    ledger, cluster = made.open(), made.cluster
    try:
        broken = pytest.raises(Stopped, match="nothing was half written")
        with broken as stopped, ledger.transaction() as txn:
            txn.append("note", {"number": 2})
            txn.execute("UPDATE accounts SET spent = :n", {"n": 1})
            cluster.stop()
        assert PASSWORD not in str(stopped.value) and "\n" not in str(stopped.value)
        with pytest.raises(Stopped, match=r"does not answer.*refused"):
            made.open()
        assert ledger.database.has_news(1)
        with pytest.raises(Stopped, match="does not answer"):
            ledger.append("note", {"number": 3})
        cluster.start("-c", "fsync=off")
        with pytest.raises(BadInput, match="fsync off"):
            made.open()
        made.open(durable=False)
    finally:
        cluster.stop()
        cluster.start()
    assert [e.body for e in ledger.entries()] == [{"number": 1}]
    assert ledger.append("note", {"number": 2}).sequence == 2  # the same object goes on
    assert [e.sequence for e in made.open().entries()] == [1, 2]


def test_a_transaction_excludes_writers_that_know_no_ledger(made):
    with made.open().transaction() as txn:
        txn.append("note", {})
        for text in ("INSERT INTO entries VALUES (2, 'x', 'y')", "DELETE FROM accounts"):
            table = f"{SCHEMA}."
            text = text.replace("INTO ", f"INTO {table}").replace("FROM ", f"FROM {table}")
            with pytest.raises(Exception, match="lock timeout"):
                made.cluster.ask(
                    f"SET lock_timeout = 50; {text}", made.address.url.rpartition("/")[2]
                )
    assert made.open().head().sequence == 2


def test_a_writer_that_hangs_in_a_transaction_is_undone_by_the_server(made, monkeypatch):
    monkeypatch.setattr(postgres, "IDLE_SECONDS", 1)
    lost, other, written = made.open(), made.open(), []
    with pytest.raises(Stopped), lost.transaction() as txn:
        txn.append("theirs", {})
        thread = threading.Thread(target=lambda: written.append(other.append("mine", {})))
        thread.start()
        thread.join(20)
        assert [e.sequence for e in written] == [2]
    assert [e.kind for e in lost.entries()] == ["note", "mine"]


def test_a_reading_is_a_snapshot(made):
    other = made.open()

    def look(connection):
        counts = []
        for _ in range(2):
            counts.append(connection.exec_driver_sql("SELECT count(*) FROM entries").scalar())
            other.append("note", {})
        return counts

    assert made.open().read(look) == [1, 1]


def test_one_loop_runs_a_study_and_a_loop_that_lost_its_lock_writes_nothing(made, monkeypatch):
    monkeypatch.setattr(postgres, "CLAIM_SECONDS", 0.1)
    loop, person = made.open(loop=True), made.open()
    with pytest.raises(Stopped, match="by another process, here or on another machine"):
        made.open(loop=True)
    person.append("order", {})  # people are no loop
    made.cluster.ask("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    with pytest.raises(Stopped, match="nothing was half written"):
        loop.append("note", {})
    second = made.open(loop=True)  # as another machine would
    with pytest.raises(Stopped, match="by another process"):
        loop.append("note", {})
    second.database.drop_writer()
    assert loop.append("note", {}).sequence == 3


def test_studies_share_a_database_and_know_nothing_of_each_other(cluster):
    url = cluster.new_database()
    first, second = (ServerPlace(cluster, url) for _ in range(2))
    second.address = make_address(url, "Other-1." + "x" * 56)
    assert len(second.address.schema) == 63
    one, two = first.create(), second.create()
    one.append("note", {"of": 1})
    assert two.entries() == [] and two.append("note", {"of": 2}).sequence == 1
    assert second.address.schema != make_address(url, "Other-1." + "x" * 55 + "y").schema
    with pytest.raises(BadInput, match="holds a study in schema heirloop_t already"):
        postgres.create(first.address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "no URL"),
        ("postgresql://u@h:port/db", "no URL"),
        ("mysql://u@h/db", "should be like postgresql"),
        ("postgresql://u@h", "should be like postgresql"),
        ("postgresql:///db", "should be like postgresql"),
        (f"postgresql://u:{PASSWORD}@h/db", "a URL with a password"),
        (f"postgresql://u@h/db?password={PASSWORD}", "a URL with a password"),
        ("postgresql://u@h/db?options=-csearch_path%3Dx", "no other options"),
        ("postgresql://u@h/db?host=a&host=b", "no other options"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_its_password(url, said):
    with pytest.raises(BadInput, match=said) as refused:
        need_url(url)
    assert PASSWORD not in str(refused.value)


def test_a_url_in_its_plain_form_is_itself(cluster):
    for url in (cluster.url("x"), "postgresql://a@/db?host=%2Frun%2Fpg", "postgresql://h/db"):
        assert need_url(need_url(url)) == need_url(url)
    made = ServerPlace(cluster, cluster.new_database())
    database = made.address.url.rpartition("/")[2]
    socket = f"postgresql://heirloop@:{cluster.port}/{database}?host={cluster.folder}"
    made.address = make_address(socket, "t")
    assert made.create().append("note", {}).sequence == 1


def test_a_server_that_is_not_as_named_is_one_sentence(made, monkeypatch):
    url = made.address.url
    database = url.rpartition("/")[2]
    for wrong, said in {
        url.replace(database, "nowhere"): '"nowhere" does not exist',
        url.replace("heirloop@", "eve@"): "password authentication failed",
        "postgresql://u@127.0.0.1:1/db": "refused",
    }.items():
        with pytest.raises(Stopped, match=f"does not answer as it should .*{said}") as stopped:
            open_server(Address(url=wrong, schema=SCHEMA), 1, True, False)
        assert PASSWORD not in str(stopped.value) and "\n" not in str(stopped.value)
    made.cluster.ask(f"CREATE ROLE eve LOGIN PASSWORD '{PASSWORD}'")
    eve = Address(url=url.replace("heirloop@", "eve@"), schema=SCHEMA)
    try:
        with pytest.raises(Stopped, match="does not allow it"):
            postgres.create(eve)
        with pytest.raises(VerificationFailed, match=r"no ledger|cannot be read"):
            open_server(eve, 1, True, False)
    finally:
        made.cluster.ask("DROP ROLE eve")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BadInput, match=r"pip install 'psycopg\[binary\]'"):
        made.open()


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("53100", Stopped, "the disk that holds the run is full"),
        ("55P03", Stopped, "another process holds"),
        ("42501", Stopped, "does not allow it"),
        ("42P01", VerificationFailed, "cannot be read"),
        ("22021", VerificationFailed, "cannot be read"),
        ("57014", Stopped, "does not answer as it should"),
        ("40P01", Stopped, "does not answer as it should"),
        (None, Stopped, "does not answer as it should"),
    ],
)
def test_an_error_of_a_server_is_one_sentence(state, kind, said):
    error = RuntimeError("first line\nsecond line.")
    error.sqlstate = state
    made = explain(error, "postgresql://u@h:1/db")
    assert type(made) is kind and said in str(made) and "\n" not in str(made)


def test_a_password_is_not_sent_in_plain(made):
    """A server of somebody else may ask for it."""
    rules = made.cluster.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    try:
        rules.write_text("host all all 127.0.0.1/32 password\n")
        made.cluster.ask("SELECT pg_reload_conf()")
        with pytest.raises(Stopped, match="authentication method requirement"):
            for _ in range(50):
                made.open().close()
    finally:
        rules.write_text(before)
        made.cluster.ask("SELECT pg_reload_conf()")


def test_a_folder_of_somebody_else_names_no_server_for_this_user(tmp_path, monkeypatch):
    url = "postgresql://ada@127.0.0.1:1/db"
    write_address(tmp_path, make_address(url, "t"))
    for name in (address.VARIABLE, ""):
        with pytest.raises(VerificationFailed, match="this user never named"):
            open_ledger(tmp_path)
        if name:
            monkeypatch.setenv(name, url.replace("127", "128"))
    monkeypatch.setenv(address.VARIABLE, url)
    assert read_address(tmp_path).schema == "heirloop_t"
    monkeypatch.delenv(address.VARIABLE)
    remember(url)
    remember(url)
    assert read_address(tmp_path).url == url
    assert (keys.home() / "ledgers").read_text().count("\n") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b"\xff",
        b'{"schema":"x","url":"postgresql://h/db"}',
        b'{"schema":"heirloop_t\\"; DROP TABLE x","url":"postgresql://h/db"}',
        b'{"schema":"heirloop_t","url":"postgresql://h/db?options=x"}',
        b'{"schema":"heirloop_t","url":7}',
        b"x" * 10_000,
        "link",
        "pipe",
    ],
)
def test_an_address_that_nobody_wrote_is_refused(tmp_path, data):
    remember("postgresql://h/db")
    if data == "link":
        (tmp_path / NAME).symlink_to("/dev/zero")
    elif data == "pipe":
        os.mkfifo(tmp_path / NAME)
    else:
        (tmp_path / NAME).write_bytes(data)
    with pytest.raises(VerificationFailed, match=NAME):
        read_address(tmp_path)


def test_runs_are_found_wherever_their_ledgers_lie(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        assert not has_ledger(tmp_path / name)
    sqlite3.connect(tmp_path / "b" / "ledger.sqlite").close()
    write_address(tmp_path / "a", make_address("postgresql://h/db", "a"))
    assert [path.name for path in list_runs(tmp_path)] == ["a", "b"]
    assert has_ledger(tmp_path / "a") and has_ledger(tmp_path / "b")
