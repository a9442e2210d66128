"""The child that reads a foreign log, taken over by the log: each attack meets a wall. With the
wall taken out of the child's source, the same attack gets through.
"""

import shutil
import socket
import threading

import pytest
from conftest import ROOT
from defences import instead, marks

from configs.errors import BadInput, NoBox
from loop.audit import read
from loop.audit.read import read_log
from sandbox.box import seccomp

START = """
import mmap, os, socket, sys, time
from loop.audit.formats.base import Found, make_trial

def say(text):
    return Found("csv", text, "up", [make_trial("1", 1.0, None)])

def read_numbers(data, score):
    return read_table(data, score)

def read_table(data, score):
    try:
        return say("done: " + str(attack()))
    except OSError as error:
        return say("denied: " + str(error))
    except MemoryError:
        return say("denied: memory")

def attack():
"""
"""A reader that runs an attack instead; the name of the score says how it went."""
ATTACKS = {
    "reads a file": ("landlock", "    return open('SECRET').read()"),
    "lists a folder": ("landlock", "    return 'secret' in os.listdir('PLACE')"),
    "calls the network": (
        "system calls",
        "    link = socket.create_connection(('127.0.0.1', PORT)); return link.recv(6).decode()",
    ),
    "starts a program": (
        "system calls",
        "    number = os.fork()\n    if number == 0: os._exit(7)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])",
    ),
    "kills its parent": ("system calls", "    os.kill(os.getpid(), 0); return 'reached'"),
    "deletes the copy": ("system calls", "    os.unlink(sys.argv[2]); return 'deleted'"),
    "fills the memory": ("memory", "    return len(mmap.mmap(-1, 3 << 30))"),
}
"""Attack -> the wall that stops it, and its program."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A copy of the child's source, for the child to run; its reader can be replaced."""
    place = tmp_path / "home"
    shutil.copytree(ROOT / "loop" / "audit", place / "loop" / "audit")
    shutil.copy(ROOT / "loop" / "__init__.py", place / "loop")
    monkeypatch.setattr(read, "HOME", place)
    (tmp_path / "log").write_text("trial,score\n1,0.5\n")
    return place


def take_out(home, *walls):
    path = home / "loop" / "audit" / "confine.py"
    for wall in walls:
        path.write_text(instead(path.read_text(), wall))


def plant(home, program):
    (home / "loop" / "audit" / "formats" / "table.py").write_text(START + program)


@pytest.fixture
def door():
    """A server on this machine that greets whoever calls; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                with link:
                    link.sendall(b"secret")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_meets_its_wall_and_gets_through_without_it(tmp_path, home, door, attack):
    wall, program = ATTACKS[attack]
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "victim").write_text("")
    for name, value in (
        ("SECRET", tmp_path / "secret"),
        ("PLACE", tmp_path),
        ("PORT", door),
        ("sys.argv[2]", repr(str(tmp_path / "victim"))),
    ):
        program = program.replace(name, str(value))
    plant(home, program)
    assert read_log(tmp_path / "log").metric.startswith("denied: ")
    assert (tmp_path / "victim").exists()
    # Landlock stops network and deletion too: two walls stand there.
    both = attack in ("calls the network", "deletes the copy")
    take_out(home, wall, *["landlock"] * both)
    result = read_log(tmp_path / "log").metric
    assert result.startswith("done: "), result
    assert (tmp_path / "victim").exists() == (attack != "deletes the copy")


@pytest.mark.parametrize("attack", ["calls the network", "deletes the copy"])
def test_the_system_calls_alone_stop_it(tmp_path, home, door, attack):
    program = ATTACKS[attack][1].replace("PORT", str(door))
    (tmp_path / "victim").write_text("")
    plant(home, program.replace("sys.argv[2]", repr(str(tmp_path / "victim"))))
    take_out(home, "landlock")
    assert read_log(tmp_path / "log").metric.startswith("denied: ")
    assert (tmp_path / "victim").exists()


def test_a_file_cannot_grow_unless_the_limit_is_taken_out(tmp_path, home):
    (tmp_path / "victim").write_text("")
    victim = str(tmp_path / "victim")
    plant(home, f"    return os.write(os.open({victim!r}, os.O_WRONLY), b'x' * 9)")
    take_out(home, "landlock")
    assert read_log(tmp_path / "log").metric.startswith("denied: ")
    assert (tmp_path / "victim").read_text() == ""
    take_out(home, "file size")
    assert read_log(tmp_path / "log").metric == "done: 9"
    assert (tmp_path / "victim").read_text() == "x" * 9


def test_a_reader_without_end_is_ended_by_its_processor_time(tmp_path, home, monkeypatch):
    monkeypatch.setattr(read, "CPU_SECONDS", 1)
    monkeypatch.setattr(read, "WALL_SECONDS", 6)
    plant(home, "    while True: pass")
    with pytest.raises(BadInput, match="was ended by signal"):
        read_log(tmp_path / "log")
    take_out(home, "processor time")
    with pytest.raises(BadInput, match="took more than 6 s"):
        read_log(tmp_path / "log")


def test_a_reader_that_sleeps_or_floods_is_ended_by_its_parent(tmp_path, home, monkeypatch):
    monkeypatch.setattr(read, "WALL_SECONDS", 2)
    plant(home, "    time.sleep(60)")
    with pytest.raises(BadInput, match="took more than 2 s"):
        read_log(tmp_path / "log")
    monkeypatch.setattr(read, "WALL_SECONDS", 30)
    monkeypatch.setattr(read, "ANSWER_BYTES", 10_000)
    plant(home, "    return os.write(1, b'x' * 60_000)")
    with pytest.raises(BadInput, match="gave out more than 10000 bytes"):
        read_log(tmp_path / "log")


LIES = {
    "no JSON": "os.write(1, b'hello'); os._exit(0)",
    "another record": 'os.write(1, b\'{"format": "csv"}\'); os._exit(0)',
    "no finite score": "os.write(1, b'{\"format\": NaN}'); os._exit(0)",
    "nothing": "os._exit(0)",
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_an_answer_that_is_no_log_is_refused(tmp_path, home, lie):
    plant(home, "    " + LIES[lie])
    with pytest.raises(BadInput):
        read_log(tmp_path / "log")


def test_every_wall_has_its_attack():
    source = (ROOT / "loop" / "audit" / "confine.py").read_text()
    tried = {wall for wall, _ in ATTACKS.values()} | {"file size", "processor time"}
    assert set(marks(source)) == tried


def test_where_a_wall_cannot_stand_nothing_is_read(tmp_path, home, monkeypatch):
    path = home / "loop" / "audit" / "confine.py"
    path.write_text(path.read_text().replace("syscall(444", "syscall(9999"))
    with pytest.raises(NoBox, match="cannot be confined here"):
        read_log(tmp_path / "log")
    monkeypatch.setattr(seccomp, "MACHINES", {})
    with pytest.raises(NoBox, match="no system call table"):
        read_log(tmp_path / "log")
