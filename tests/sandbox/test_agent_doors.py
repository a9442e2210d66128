"""The doors of an agent: who gets in, what is parsed, what ends when; and each wall taken out."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, on, real_box
from defences import instead

from configs.errors import NoBox
from configs.job import Limits
from loop.plan import source
from sandbox.box import container as container_module
from sandbox.box import namespace, seccomp
from sandbox.box.base import Execution
from sandbox.box.container import Container
from sandbox.box.docker import DockerBox
from sandbox.door import doors as door_module
from sandbox.door import spawn
from sandbox.door.doors import DooredBox, Doors, Reply, refuse
from sandbox.run import OUTPUTS

CLIENT = '''
import json, os, socket, sys, time
def visit(data, wait=30.0):
    """Send bytes to the door and return all that comes back."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(wait)
        door.connect("/doors/trial")
        try:
            door.sendall(data)
        except BrokenPipeError:
            pass  # an answer came before the end of the request
        parts = []
        try:
            while part := door.recv(65536):
                parts.append(part)
        except (ConnectionResetError, TimeoutError) as error:
            parts.append(type(error).__name__.encode())
    return b"".join(parts)
def framed(body, extra=b"", path=b"/v1/trials"):
    head = b"POST " + path + b" HTTP/1.1\\r\\nContent-Length: " + str(len(body)).encode()
    return head + b"\\r\\n" + extra + b"\\r\\n" + body
def ask(value):
    answer = visit(framed(json.dumps(value).encode()))
    return int(answer[9:12]), answer.partition(b"\\r\\n\\r\\n")[2].decode()
def tell(value):
    with open("proposals.jsonl", "a") as out:
        out.write(json.dumps(value) + "\\n")
'''


def echo(request):
    """A handler that answers with what it was given."""
    return Reply(status=200, body=json.dumps(request).encode())


@pytest.fixture(scope="module", params=[on("namespace"), on("docker")])
def box(request):
    made = real_box(request.param)
    yield made
    made.close()


def run(box, program, handler=echo, begun=lambda doors: None, **limits):
    """Run an agent beside a door; return the outcome, what it told, and the door's counts."""
    files = {**source(), "program": (CLIENT + program).encode(), "history.json": b"{}"}
    doors = Doors({"trial": ("/v1/trials", handler)})
    begun(doors)
    try:
        outcome = DooredBox(box, doors).run(
            Execution(
                role="agent",
                files={**files, "job.json": b"{}"},
                limits=Limits(**limits),
                outputs=OUTPUTS["agent"],
            )
        )
    finally:
        doors.finish()
    told = outcome.files.get("proposals.jsonl", b"").decode().splitlines()
    return outcome, [json.loads(line) for line in told], doors.counts()["trial"]


def porter_of(monkeypatch, tmp_path, source="", more=""):
    """Let doors start a porter from another source, or with more code before it serves."""
    place = tmp_path / "other_porter.py"
    place.write_text(source or PORTER)
    monkeypatch.setattr(
        spawn,
        "START",
        "import sys, types; sys.path.insert(0, sys.argv.pop(1)); import configs.build;"
        f"p = types.ModuleType('p'); sys.modules['p'] = p; exec(open({str(place)!r}).read(),"
        f" p.__dict__); {more or 'pass'}; p.main()",
    )


def test_an_agent_asks_and_is_answered_and_nobody_else_has_a_door(box):
    outcome, told, counts = run(
        box,
        """
tell(ask({'knobs': {'depth': 3}}))
try:
    open('/doors/trial2', 'w')
except OSError as error:
    tell(error.errno in (13, 30))
""",
    )
    assert outcome.status == "ok", outcome.log
    assert told == [[200, '{"knobs": {"depth": 3}}'], True] and counts == {"asked": 1}
    program = b"""
import os, socket
print(os.path.exists('/doors'))
try:
    socket.socket(socket.AF_UNIX)
    print('open')
except PermissionError:
    print('closed')
"""
    files = {**source(), "program": program, "history.json": b"{}", "job.json": b"{}"}
    other = Execution(role="propose", files=files, limits=Limits(), outputs=OUTPUTS["propose"])
    assert box.run(other).files["proposals.jsonl"] == b"False\nclosed\n"
    after = Execution(role="agent", files=files, limits=Limits(), outputs=OUTPUTS["agent"])
    assert box.run(after).log == b"False\nclosed\n"  # an agent without doors, after one with them
    doors = Doors({})
    with pytest.raises(AssertionError, match="for agents and services alone"):
        DooredBox(box, doors).run(other)
    doors.finish()


# Who gets in


@pytest.mark.parametrize("stands", [True, False])
def test_a_process_outside_the_job_is_refused(box, monkeypatch, stands):
    if not stands:
        monkeypatch.setattr(door_module.Door, "_is_inside", lambda self, connection: True)
    heard = []

    def knock(doors):
        def act():
            body = b'{"from": "outside"}'
            head = f"POST /v1/trials HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            for _ in range(6000):  # a busy machine starts the job late
                time.sleep(0.02)
                with socket.socket(socket.AF_UNIX) as door:
                    try:
                        door.connect(str(doors.folder / "trial"))
                        door.sendall(head + body)
                        heard.append(door.recv(65536))
                        return
                    except OSError as error:
                        if not isinstance(error, ConnectionRefusedError):
                            heard.append(b"")
                            return

        threading.Thread(target=act, daemon=True).start()

    _, told, counts = run(box, "time.sleep(1.5)\ntell(ask({'from': 'inside'})[0])", begun=knock)
    assert told == [200]
    assert heard == [b""] if stands else b"outside" in heard[0]
    assert counts["outside"] == stands and counts["asked"] == 2 - stands


def test_a_peer_is_known_by_the_kernel_s_numbers_alone():
    """A process that connected and is gone, and a job that is over, are nobody of the job."""
    doors = Doors({"trial": ("/v1/trials", echo)})
    door = doors._doors["trial"]
    sleeper = subprocess.Popen(["sleep", "60"])
    door.open(sleeper.pid)  # its children's pid namespace is our own: every process here is inside
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert door._is_inside(ours)
        sleeper.kill()
        sleeper.wait()
        assert not door._is_inside(ours)
    doors.finish()
    assert not doors.folder.exists()


@pytest.mark.parametrize(
    ("place", "match"),
    [
        ("here", "not processes of this machine"),
        ("gone", "not processes of this machine"),
        ("closed", "may not see whose processes knock"),
    ],
)
def test_a_container_s_process_is_known_by_this_machine_s_kernel(monkeypatch, place, match):
    """The engine may be another machine's, and its number that of any process here."""

    def stat(path):
        raise PermissionError(path)

    pid = 0 if place == "gone" else os.getpid()
    container = Container.__new__(Container)
    container._api = SimpleNamespace(inspect_container=lambda _: {"State": {"Pid": pid}})
    container.ident = "0123456789ab"
    if place == "closed":
        container.ident = ""  # in any control group
        monkeypatch.setattr(container_module, "os", SimpleNamespace(stat=stat))
    with pytest.raises(NoBox, match=match):
        container.find_collector()


@pytest.mark.docker
def test_a_runtime_that_closes_sockets_of_the_host_has_no_doors(monkeypatch):
    box = real_box("docker")
    monkeypatch.setattr(box, "_runtime", "runsc")
    outcome, _, counts = run(box, "pass")
    box.close()
    assert (outcome.status, counts) == ("box", {}) and "has no doors" in outcome.detail


# What an agent may call


def allowed(code, number, arguments=()):
    """Run a filter on a system call, as the kernel does; return its verdict."""
    data = struct.pack("<iIQ6Q", number, 0xC000003E, 0, *(*arguments, *[0] * 6)[:6])
    program = [struct.unpack_from("HBBI", code, 8 * i) for i in range(len(code) // 8)]
    at, value = 0, 0
    while True:
        name, yes, no, k = program[at]
        at += 1
        if name == seccomp.LOAD:
            value = struct.unpack_from("<I", data, k)[0]
        elif name == seccomp.AND:
            value &= k
        elif name == seccomp.RETURN:
            return k == seccomp.ALLOW
        else:
            tests = {
                seccomp.EQUAL: value == k,
                seccomp.GREATER: value > k,
                seccomp.AT_LEAST: value >= k,
                seccomp.ANY: bool(value & k),
            }
            at += yes if tests[name] else no


def test_agents_alone_get_streams_of_af_unix_and_every_other_role_keeps_its_filter():
    others, agents = seccomp.program("x86_64"), seccomp.program("x86_64", doors=True)
    assert len(others) < len(agents)
    more = {n for n in range(600) if allowed(agents, n) and not allowed(others, n)}
    assert {n for n in range(600) if allowed(others, n) and not allowed(agents, n)} == set()
    connect, sendto, recvfrom, shutdown, getsockname, getpeername, getsockopt = (
        42, 44, 45, 48, 51, 52, 55,
    )  # fmt: skip
    assert more == {connect, sendto, recvfrom, shutdown, getsockname, getpeername, getsockopt}
    unix, stream, datagram, packets, flags = 1, 1, 2, 5, 0x80800
    assert allowed(agents, 41, (unix, stream)) and allowed(agents, 41, (unix, stream | flags))
    for family in (0, *range(2, 50)):  # no internet, netlink, packet, vsock, kernel crypto ...
        assert not allowed(agents, 41, (family, stream)), family
    assert not any(allowed(agents, 41, (unix, kind)) for kind in (datagram, 3, 4, packets, 10))
    pair, tcp = 53, seccomp.program("x86_64", doors=True, tcp=True)
    for code in (agents, tcp):
        assert allowed(code, pair, (unix, stream)) and allowed(code, pair, (unix, stream | flags))
        assert not any(allowed(code, pair, (family, stream)) for family in (0, *range(2, 50)))
        assert not any(allowed(code, pair, (unix, kind)) for kind in (0, *range(2, 11)))
    assert not any(allowed(others, call, (unix, kind)) for call in (41, pair) for kind in range(11))
    assert not allowed(agents, sendto, (3, 0, 1, 1)) and not allowed(agents, recvfrom, (3, 0, 1, 1))
    assert allowed(agents, sendto, (3, 0, 1, 0x4000))  # MSG_NOSIGNAL, as Python sends
    for name in (46, 47, 49, 50, 43, 288, 307, 299, 54):
        assert not allowed(agents, name)  # sendmsg, recvmsg, bind, listen, accept ...


def test_an_agent_passes_no_descriptor_and_reaches_no_other_socket(box):
    outcome, told, _ = run(
        box,
        """
def tried(act):
    try:
        act()
        return 'done'
    except OSError as error:
        return error.errno
door = socket.socket(socket.AF_UNIX)
door.connect('/doors/trial')
tell([tried(act) for act in (
    lambda: socket.send_fds(door, [b'x'], [0]),
    lambda: socket.recv_fds(door, 1, 1),
    lambda: door.send(b'x', socket.MSG_OOB),
    lambda: socket.socket(socket.AF_INET),
    lambda: socket.socket(socket.AF_NETLINK),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    lambda: socket.socket(socket.AF_UNIX).bind('/tmp/own'),
)])
""",
    )
    assert outcome.status == "ok" and told == [[1] * 8], outcome.log


# What is parsed

PORTER = (ROOT / "sandbox" / "door" / "porter.py").read_text()
IF = dict.fromkeys(("bytes of a head", "bytes of a body", "slow connections"), "if False:")
"""Walls that begin with a question; the others are a single act."""
FIRST = b"POST /v1/trials HTTP/1.1\r\n"
BAD = {
    "another method": b"GET /v1/trials HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "another path": b"POST /v1/models HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "chunks": FIRST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    "a wish to wait": FIRST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    "no length": b"POST /v1/trials HTTP/1.1\r\n\r\n{}",
    "two lengths": b"POST /v1/trials HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a length of signs": b"POST /v1/trials HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}",
    "a space before a colon": b"POST /v1/trials HTTP/1.1\r\nContent-Length : 2\r\n\r\n{}",
    "a folded header": b"POST /v1/trials HTTP/1.1\r\nX: a\r\n b: c\r\nContent-Length: 2\r\n\r\n{}",
    "a bare line feed": b"POST /v1/trials HTTP/1.1\r\nX: a\nContent-Length: 2\r\n\r\n{}",
    "a head of other letters": "POST /v1/trials HTTP/1.1\r\nX: ü\r\n\r\n".encode(),
    "two requests": b"POST /v1/trials HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}POST /",
    "no JSON": b"POST /v1/trials HTTP/1.1\r\nContent-Length: 2\r\n\r\n{]",
    "a key twice": b'POST /v1/trials HTTP/1.1\r\nContent-Length: 14\r\n\r\n{"a":1,"a": 2}',
    "no number": b'POST /v1/trials HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"a":NaN}',
    "UTF-16": b"POST /v1/trials HTTP/1.1\r\nContent-Length: 6\r\n\r\n" + "{}".encode("utf-16"),
    "a deep tree": b"POST /v1/trials HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"[" * 200_000,
    "a large head": b"POST /v1/trials HTTP/1.1\r\nX: " + b"x" * 9_000,
    "a large body": b"POST /v1/trials HTTP/1.1\r\nContent-Length: 262145\r\n\r\n",
}  # fmt: skip


def porter_module(source):
    """Load a porter from its source, as a module of its own."""
    import types

    module = types.ModuleType("porter_under_test")
    sys.modules[module.__name__] = module
    exec(compile(source, "porter", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_request_is_refused_with_a_sentence(name):
    porter = porter_module(PORTER)
    with pytest.raises(porter.RefusedError) as refused:
        porter.parse_request(BAD[name], "/v1/trials")
    assert refused.value.status in (400, 404, 413) and str(refused.value)


@pytest.mark.parametrize(
    ("defence", "name", "heard"),
    [
        ("bytes of a head", "a large head", None),
        ("bytes of a body", "a large body", None),
        ("one request", "two requests", {}),
        ("framing", "chunks", {}),
    ],
)
def test_each_wall_of_the_parser_is_needed(defence, name, heard):
    """Without it more bytes are waited for (None), or a request is heard that should be refused."""
    porter = porter_module(instead(PORTER, defence, IF.get(defence, "")))
    assert porter.parse_request(BAD[name], "/v1/trials") == heard


def test_malformed_half_open_and_flooding_visits_reach_no_handler(box, monkeypatch, tmp_path):
    porter_of(monkeypatch, tmp_path, more="p.SECONDS = 3.0")
    bad = [BAD[name] for name in ("chunks", "two lengths", "no JSON", "a large head")]
    outcome, told, counts = run(
        box,
        f"""
tell([int(visit(data)[9:12]) for data in {bad!r}])
began = time.monotonic()
tell(visit(b'POST /v1/tri').decode())  # half a request, and nothing more
tell(2.5 < time.monotonic() - began)
idle = [socket.socket(socket.AF_UNIX) for _ in range(7)]
for one in idle:
    one.connect('/doors/trial')
time.sleep(0.2)
tell(sorted(one.recv(12).decode() for one in idle[4:]))
for one in idle:
    one.close()
time.sleep(0.2)
tell(ask({{}})[0])
""",
    )
    assert outcome.status == "ok", outcome.log
    assert told == [[400, 400, 400, 413], "", True, ["HTTP/1.1 429"] * 3, 200]
    assert counts == {"malformed": 4, "cut": 5, "full": 3, "asked": 1}


@pytest.mark.parametrize(
    ("defence", "settings"),
    [
        ("slow connections", "p.SECONDS = 0.5"),
        ("open connections", "p.SECONDS = 60.0"),
        ("rate", "p.A_SECOND = 10; p.time = types.SimpleNamespace(monotonic=lambda: 0.0)"),
    ],
)
@pytest.mark.parametrize("stands", [True, False])
def test_each_wall_of_the_porter_is_needed(monkeypatch, tmp_path, defence, settings, stands):
    """The same walls without a box: this process knocks, and counts as inside."""
    source = PORTER if stands else instead(PORTER, defence, IF.get(defence, ""))
    porter_of(monkeypatch, tmp_path, source, settings)
    monkeypatch.setattr(door_module.Door, "_is_inside", lambda self, connection: True)
    doors = Doors({"trial": ("/v1/trials", echo)})
    doors.open(os.getpid())

    def knock(data):
        door = socket.socket(socket.AF_UNIX)
        door.settimeout(60 if stands else 3)
        door.connect(str(doors.folder / "trial"))
        with suppress(BrokenPipeError):  # a full door answers before it has read
            door.sendall(data)
        return door

    whole = b"POST /v1/trials HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    try:
        if defence == "slow connections":
            with knock(b"POST") as door:
                try:
                    heard = [door.recv(100)]
                except TimeoutError:
                    heard = ["still open"]
            assert heard == ([b""] if stands else ["still open"])
        elif defence == "open connections":
            waiting = [knock(b"POST") for _ in range(6)]
            with knock(whole) as door:
                assert door.recv(12).endswith(b"429" if stands else b"200")
            for one in waiting:
                one.close()
        else:
            heard = set()
            for _ in range(14):
                with knock(whole) as door:
                    heard.add(door.recv(12)[-3:])
            assert (b"429" in heard) == stands
    finally:
        doors.finish()


def test_a_flood_at_one_door_leaves_the_other_open(box):
    program = """
idle = []
for _ in range(200):
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    try:
        one.connect('/doors/trial')
        one.send(b'POST')
        idle.append(one)
    except OSError:
        one.close()
    idle = idle[-100:]
with socket.socket(socket.AF_UNIX) as door:
    door.connect('/doors/model')
    door.sendall(framed(b'{"to": "the model"}', path=b'/v1/chat/completions'))
    tell(door.recv(12).decode())
"""
    files = {**source(), "program": (CLIENT + program).encode(), "history.json": b"{}"}
    handlers = {"trial": ("/v1/trials", echo), "model": ("/v1/chat/completions", echo)}
    doors = Doors(handlers)
    agent = Execution(
        role="agent",
        files={**files, "job.json": b"{}"},
        limits=Limits(),
        outputs=OUTPUTS["agent"],
    )
    outcome = DooredBox(box, doors).run(agent)
    doors.finish()
    assert outcome.status == "ok", outcome.log
    assert outcome.files["proposals.jsonl"] == b'"HTTP/1.1 200"\n'
    counts = doors.counts()
    assert counts["model"] == {"asked": 1} and counts["trial"]["asked"] == 0
    assert counts["trial"]["full"] > 0


def knock_at(doors, data):
    """Open a connection to a door from this process, and send bytes."""
    door = socket.socket(socket.AF_UNIX)
    door.settimeout(10)
    door.connect(str(doors.folder / "trial"))
    with suppress(BrokenPipeError):
        door.sendall(data)
    return door


@pytest.mark.parametrize("stands", [True, False])
def test_a_job_has_so_many_visits_and_then_the_door_is_shut(monkeypatch, stands):
    monkeypatch.setattr(door_module.Door, "_is_inside", lambda self, connection: True)
    monkeypatch.setattr(door_module, "MOST_VISITS", 3 if stands else 10_000)
    doors = Doors({"trial": ("/v1/trials", echo)})
    doors.open(os.getpid())
    whole = FIRST + b"Content-Length: 2\r\n\r\n{}"
    heard = []
    for _ in range(4):
        try:
            with knock_at(doors, whole) as door:
                heard.append(door.recv(12)[-3:])
        except OSError:
            heard.append(b"shut")
    doors.finish()
    assert heard == [b"200"] * 3 + [b"shut" if stands else b"200"]


def test_large_requests_and_large_answers_do_not_wait_for_each_other(monkeypatch):
    monkeypatch.setattr(door_module.Door, "_is_inside", lambda self, connection: True)

    def large(request):
        time.sleep(0.2)
        return Reply(status=200, body=b"x" * 1_000_000)

    doors = Doors({"trial": ("/v1/trials", large)})
    doors.open(os.getpid())
    body = json.dumps("y" * 250_000).encode()
    head = FIRST + f"Content-Length: {len(body)}\r\n\r\n".encode()
    open_ = [knock_at(doors, head + body) for _ in range(4)]
    for door in open_:
        with door:
            size = 0
            while part := door.recv(65_536):
                size += len(part)
        assert size > 1_000_000
    doors.finish()


# The porter itself


def test_a_porter_has_an_empty_environment_and_opens_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("MODEL_KEY", "secret-of-the-model")
    porter_of(monkeypatch, tmp_path)
    doors = Doors({"trial": ("/v1/trials", echo)})
    door = doors._doors["trial"]
    assert door._read() == {}  # it stands behind its walls
    place = Path(f"/proc/{door._porter.pid}")
    assert b"secret" not in (place / "environ").read_bytes()
    held = [os.readlink(one) for one in (place / "fd").iterdir()]
    assert all(one.startswith(("pipe:", "socket:", "/dev/null")) for one in held), held
    doors.finish()


@pytest.mark.parametrize(
    ("defence", "act"),
    [
        ("porter's files", "__import__('os').open('/etc/hostname', 0)"),
        ("porter's calls", "__import__('socket').socket()"),
        ("porter's calls", "__import__('os').fork()"),
    ],
)
@pytest.mark.parametrize("stands", [True, False])
def test_each_wall_around_the_porter_is_needed(tmp_path, defence, act, stands):
    changed = PORTER if stands else instead(PORTER, defence)
    if defence == "porter's files":  # the list of calls would refuse it too
        changed = instead(changed, "porter's calls")
    place = tmp_path / "porter.py"
    place.write_text(changed)
    calls = seccomp.program_of(spawn.PORTER.split()).hex()
    code = (
        f"import sys, os; sys.path.insert(0, {str(ROOT)!r}); sys.path.insert(0, {str(tmp_path)!r});"
        f"import porter, socket; porter.confine(bytes.fromhex({calls!r})); {act}; os._exit(7)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert (ended.returncode == 7) != stands, ended.stderr


def test_a_porter_that_speaks_nonsense_ends_its_door_and_nothing_else(box, monkeypatch):
    monkeypatch.setattr(
        spawn,
        "START",
        "import os, sys, time; os.write(int(sys.argv[4]), b'\\xff' * 100); time.sleep(60)",
    )
    outcome, told, counts = run(box, "tell(visit(framed(b'{}'), 1.0).decode())")
    assert outcome.status == "ok" and told == ["TimeoutError"] and counts == {}


# What ends when


@pytest.mark.parametrize("stands", [True, False])
def test_a_request_that_waits_at_the_deadline_is_refused_and_counted(box, monkeypatch, stands):
    handled, over = [], threading.Event()

    def slow(request):
        handled.append(request)
        over.wait(20)
        return Reply(status=200, body=b"{}")

    if not stands:
        source = Path(door_module.__file__).read_text()
        changed = instead(source, "deadline", "if False:")
        monkeypatch.setattr(door_module.Door, "_handle", _method(changed, "_handle"))

    def later(doors):
        real = doors.close

        def close():
            real()
            over.set()

        doors.close = close

    outcome, _, counts = run(
        box,
        """
for number in range(3):
    if os.fork() == 0:
        visit(framed(json.dumps({'number': number}).encode()))
        os._exit(0)
time.sleep(60)
""",
        slow,
        later,
        wall_us=2_500_000,
    )
    assert (outcome.status, outcome.detail) == ("limit", "wall")
    assert len(handled) == (1 if stands else 3)
    assert counts["late"] == (2 if stands else 0)


def _method(source, name):
    """Return a method of Door from another source of its module."""
    import types

    module = types.ModuleType("doors_under_test")
    module.__file__ = door_module.__file__
    sys.modules[module.__name__] = module
    exec(compile(source, "doors", "exec"), module.__dict__)
    return getattr(module.Door, name)


def test_a_double_forked_child_has_the_same_door_and_ends_with_the_job(box):
    outcome, told, counts = run(
        box,
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for _ in range(10_000):
            ask({'from': 'child'})
            time.sleep(0.05)
    os._exit(0)
time.sleep(1)
tell(ask({'from': 'parent'})[0])
""",
    )
    assert outcome.status == "ok" and told == [200]
    asked = counts["asked"]
    time.sleep(0.5)
    assert 1 < asked < 100 and counts["asked"] == asked


def test_an_agent_that_hangs_up_is_answered_and_pays_all_the_same(monkeypatch):
    done = threading.Event()

    def slow(request):
        time.sleep(0.3)
        done.set()
        return echo(request)

    monkeypatch.setattr(door_module.Door, "_is_inside", lambda self, connection: True)
    doors = Doors({"trial": ("/v1/trials", slow)})
    doors.open(os.getpid())
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(doors.folder / "trial"))
        door.sendall(FIRST + b"Content-Length: 2\r\n\r\n{}")
        time.sleep(0.1)
    assert done.wait(60)
    doors.finish()
    assert doors.counts()["trial"] == {"asked": 1}


@pytest.mark.parametrize("stands", [True, False])
def test_doors_are_closed_before_the_kill(box, monkeypatch, stands):
    open_at_kill, place = [], []
    where = namespace if box.kind == "namespace" else DockerBox
    real = where._kill

    def kill(*given):
        open_at_kill.extend(one.exists() for one in place)
        real(*given)

    monkeypatch.setattr(where, "_kill", kill)
    if not stands and box.kind == "namespace":
        monkeypatch.setattr(namespace, "_end", lambda execution, pid, group: kill(pid, group))
    elif not stands:
        ends = lambda box, _, container: kill(box, container.ident, container.group)  # noqa: E731
        monkeypatch.setattr(DockerBox, "_end", ends)
    run(box, "pass", begun=lambda doors: place.append(doors.folder / "trial"))
    assert open_at_kill and any(open_at_kill) != stands


def test_an_error_of_the_trusted_side_is_raised_after_the_job(box):
    def fails(request):
        raise NoBox("the study ended")

    with pytest.raises(NoBox, match="the study ended"):
        run(box, "tell([ask({})[0], ask({})[0]])", fails)


@pytest.mark.parametrize("stands", [True, False])
def test_a_deep_request_is_refused_before_anything_reads_it(monkeypatch, stands):
    if not stands:
        monkeypatch.setattr(door_module, "need_flat", lambda value: None)
    doors = Doors({"trial": ("/v1/trials", echo)})
    deep = json.loads("[" * 60 + "]" * 60)
    assert doors._doors["trial"]._handle(deep).status == (400 if stands else 200)
    doors.finish()


def test_a_refusal_has_the_form_that_libraries_know():
    reply = refuse(403, "needs a person")
    assert reply.status == 403
    assert json.loads(reply.body)["error"]["message"] == "needs a person"
