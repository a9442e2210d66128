"""The TCP port of an agent's job: a library reaches the door through it, and nothing else; and each
wall taken out.
"""

import json
import socket
from contextlib import closing
from dataclasses import replace

import pytest
from conftest import ROOT, need_box, on, real_box
from defences import MARKED, instead
from test_agent_doors import allowed

from configs.job import Limits
from loop.plan import source
from loop.propose.agent.doors import open_doors
from sandbox.box import namespace, seccomp, tcp
from sandbox.box.base import Execution
from sandbox.box.docker import DockerBox
from sandbox.box.namespace import NamespaceBox
from sandbox.door.doors import DooredBox, Doors, Reply
from sandbox.run import OUTPUTS

PATH = "/v1/chat/completions"
CLIENT = """
import http.client, json, os, socket, time, urllib.request
def tell(value):
    with open("proposals.jsonl", "a") as out:
        out.write(json.dumps(value) + "\\n")
def tried(act):
    try:
        act()
        return "through"
    except OSError as error:
        return error.errno
def reach(address, port, kind=6):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, kind) as one:
        one.settimeout(10)
        one.connect((address, port))
"""
PERM, ACCESS, UNREACHABLE, REFUSED = 1, 13, 101, 111
MPTCP = 262
"""IPPROTO_MPTCP, which Landlock's rules for TCP do not see."""


def echo(request):
    """A handler that answers with what it was given."""
    return Reply(status=200, body=json.dumps(request).encode())


@pytest.fixture(scope="module", params=[on("namespace"), on("docker")])
def box(request):
    need_port()
    made = real_box(request.param)
    yield made
    made.close()


def need_port():
    """Skip with the reason where the kernel has no rules for ports."""
    if reason := tcp.explain_absence():
        pytest.skip(reason)


def anew(box):
    """Return a box that starts under the settings of now: a Docker box holds containers ready."""
    return DockerBox("heirloop-box") if box.kind == "docker" else box


def job(program, role="agent"):
    """A job of this program."""
    files = {**source(), "program": (CLIENT + program).encode(), "history.json": b"{}"}
    if role == "train":
        files["models/train.py"] = f"def main(i, o):\n exec({CLIENT + program!r}, {{}})".encode()
    return Execution(
        role=role,
        files={**files, "job.json": b"{}"},
        limits=Limits(),
        outputs=OUTPUTS[role],
    )


def run(box, program, forwarded="model"):
    """Run an agent with a port; return what it told, and the door's counts."""
    doors = Doors({"model": (PATH, echo)}, forwarded=forwarded)
    try:
        outcome = DooredBox(box, doors).run(job(program))
    finally:
        doors.finish()
    assert outcome.status == "ok", (outcome.detail, outcome.log)
    told = outcome.files.get("proposals.jsonl", b"").decode().splitlines()
    return [json.loads(line) for line in told], doors.counts()["model"]


def inside(monkeypatch, tmp_path, *out, more=None):
    """Let boxes start from other sources: without these defences, with another forward.py."""
    for name in MARKED:
        text = (namespace.HERE / name).read_text()
        for defence in out if name == "zygote.py" else ():
            text = instead(text, defence)
        for old, new in (more or {}).items() if name == "forward.py" else ():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr(namespace, "HERE", tmp_path)


def free_port():
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.2", 0))
        return one.getsockname()[1]


def test_a_library_that_speaks_http_over_tcp_reaches_the_door_and_nothing_else(box):
    told, counts = run(
        box,
        """
there = http.client.HTTPConnection("127.0.0.1", 8000)
there.request("POST", "/v1/chat/completions", '{"a": 1}')
answer = there.getresponse()
tell([answer.status, answer.read().decode()])
there = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", data=b"[]")
tell(urllib.request.urlopen(there).read().decode())
large = urllib.request.Request(there.full_url, data=json.dumps("y" * 250_000).encode())
tell(len(urllib.request.urlopen(large).read()))
tell([tried(lambda: reach(*place)) for place in (
    ("127.0.0.1", 8001), ("127.0.0.2", 8000), ("10.0.0.1", 8000), ("1.1.1.1", 443))])
tell([tried(act) for act in (
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    lambda: socket.socket(socket.AF_INET6),
    lambda: reach("127.0.0.1", 8000, 262),
    lambda: socket.socket().bind(("127.0.0.1", 9000)),
    lambda: socket.socket().listen(),
    lambda: socket.socket().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", 8000)),
    lambda: socket.socket().setsockopt(socket.IPPROTO_TCP, 30, 1),
    lambda: socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1))])
""",
    )
    assert told == [
        [200, '{"a": 1}'],
        "[]",
        250_002,
        [ACCESS, REFUSED, UNREACHABLE, ACCESS],
        [PERM] * 8,
    ]
    assert counts == {"asked": 3}


def test_a_flood_of_half_requests_leaves_the_port_open_and_the_forwarder_is_out_of_reach(box):
    told, counts = run(
        box,
        """
def ask():
    there = http.client.HTTPConnection("127.0.0.1", 8000, timeout=30)
    there.request("POST", "/v1/chat/completions", "{}")
    return there.getresponse().status
for _ in range(60):
    with socket.create_connection(("127.0.0.1", 8000)) as one:
        one.sendall(b"POST /v1/ch")
idle = [socket.create_connection(("127.0.0.1", 8000)) for _ in range(20)]
for one in idle:
    one.close()
time.sleep(1.5)
tell([ask(), ask()])
others = [int(name) for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]
names = {pid: tried(lambda: open(f"/proc/{pid}/environ").read()) for pid in others}
*rest, forwarder = sorted(pid for pid, end in names.items() if end != "through")
assert rest in ([], [1]) and all(names[pid] == 13 for pid in rest)  # a container's collector
tell([names[forwarder], tried(lambda: open(f"/proc/{forwarder}/mem", "rb").read(1))])
""",
    )
    assert told == [[200, 200], [ACCESS, ACCESS]]
    assert counts["asked"] == 2 and counts["malformed"] == 0
    assert counts["cut"] + counts["full"] > 0


@pytest.mark.parametrize(
    ("out", "reached"),
    [
        ("nothing", [ACCESS, PERM, PERM]),
        ("landlock", ["through", PERM, PERM]),
        ("system call list", [PERM, "through", "through"]),
    ],
)
def test_an_agent_connects_to_one_port_alone(monkeypatch, tmp_path, out, reached):
    """The forwarder listens at a second port here. Landlock's rule is in the way, and the filter
    where that rule does not see: another protocol, and a connection without `connect`.
    """
    need_port()
    also = "other = socket.create_server((ADDRESS, 8001)); os.dup2(other.detach(), 4)"
    inside(
        monkeypatch,
        tmp_path,
        *(["landlock"] if out == "landlock" else []),
        more={"os.closerange(4, 4096)": f"{also}; os.closerange(5, 4096)"},
    )
    if out == "system call list":
        monkeypatch.setattr(seccomp, "TCP", MPTCP)
        monkeypatch.setattr(seccomp, "FAST_OPEN", 0)
    box = need_box(lambda: NamespaceBox(ROOT / ".box", warm=False))
    with closing(box):
        told, _ = run(
            box,
            f"""
tell([tried(act) for act in (
    lambda: reach("127.0.0.1", 8001),
    lambda: reach("127.0.0.1", 8001, {MPTCP}),
    lambda: socket.socket().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", 8001)))])
""",
        )
    assert told == [reached]


@pytest.mark.parametrize("stands", [True, False])
def test_an_agent_reaches_no_address_of_the_machine(monkeypatch, tmp_path, stands):
    need_port()
    monkeypatch.setattr(tcp, "PORT", free_port())
    if not stands:
        alone = "fcntl.ioctl(listener, SET_FLAGS"  # no part of it may touch the machine's devices
        inside(monkeypatch, tmp_path, "network namespace", more={alone: "str((listener, SET_FLAGS"})
        text = (tmp_path / "forward.py").read_text()
        text = text.replace('struct.pack("16sH22x", b"lo", UP))', "UP))")
        (tmp_path / "forward.py").write_text(text)
        real = namespace.command

        def command(*arguments):
            order = real(*arguments)
            argv = [part for part in order["argv"] if part != "--unshare-all"]
            kinds = ("user", "ipc", "pid", "uts", "cgroup")
            argv[1:1] = [f"--unshare-{kind}" for kind in kinds]
            return {**order, "argv": argv}

        monkeypatch.setattr(namespace, "command", command)
    box = need_box(lambda: NamespaceBox(ROOT / ".box", warm=False))
    with closing(box), socket.create_server(("127.0.0.2", tcp.PORT)):
        told, _ = run(box, f'tell(tried(lambda: reach("127.0.0.2", {tcp.PORT})))')
    assert told == [REFUSED if stands else "through"]


OPEN = "print(tried(lambda: socket.socket(socket.AF_INET)), os.environ.get('OPENAI_BASE_URL'))"


@pytest.mark.parametrize("stands", [True, False])
def test_no_other_role_opens_af_inet_and_no_agent_without_a_port(monkeypatch, box, stands):
    if not stands:
        real = tcp.seccomp.program
        monkeypatch.setattr(
            tcp.seccomp, "program", lambda **given: real(**{"doors": True, **given, "tcp": True})
        )
        engine = seccomp.profile
        monkeypatch.setattr(seccomp, "profile", lambda **given: engine(doors=True, tcp=True))
        box = anew(box)
        closed = "through"
    else:
        closed = str(PERM)
    for role in ("train", "agent"):
        outcome = box.run(job(OPEN, role))
        # without `doors` there is no rule on sockets to loosen
        wanted = closed if stands else str(PERM)
        assert outcome.log.decode().split()[:2] == [wanted, "None"], outcome.log
    told, _ = run(box, "tell(tried(lambda: socket.socket(socket.AF_INET)))", forwarded="")
    assert told == [PERM if stands else "through"]


def test_the_filters_differ_in_streams_of_tcp_and_one_option_alone():
    plain, doors = (seccomp.program("x86_64", doors=on) for on in (False, True))
    agents = seccomp.program("x86_64", doors=True, tcp=True)
    inet, stream, option, sendto = 2, 1, 54, 44
    same = [n for n in range(600) if n not in (41, option)]
    assert [allowed(agents, n) for n in same] == [allowed(doors, n) for n in same]
    for kind in (0, 6):
        assert allowed(agents, 41, (inet, stream, kind))
        assert not any(allowed(code, 41, (inet, stream, kind)) for code in (plain, doors))
    assert allowed(agents, 41, (1, stream | 0x80800)) and allowed(agents, 41, (inet, 0x80801, 6))
    others = [kind for kind in range(300) if kind not in (0, 6)]  # MPTCP, SCTP, UDP, ...
    assert not any(allowed(agents, 41, (inet, stream, kind)) for kind in others)
    assert not any(allowed(agents, 41, (inet, form)) for form in (2, 3, 4, 5, 10))
    assert not any(allowed(agents, 41, (family, stream)) for family in (0, *range(3, 50)))
    options = {(a, b) for a in range(300) for b in range(70) if allowed(agents, option, (3, a, b))}
    assert options == {(6, 1)}
    assert not allowed(agents, sendto, (3, 0, 1, 0x20000000)) and allowed(agents, sendto, (3, 0, 1))
    forwarder = seccomp.program("x86_64", doors=True, more=seccomp.FORWARDER_CALLS)
    more = {n for n in range(600) if allowed(forwarder, n) and not allowed(doors, n)}
    assert more == {288} and not allowed(forwarder, 41, (inet, stream))


def test_a_kernel_without_rules_for_ports_offers_none_and_says_so(monkeypatch):
    handlers = {"model": (PATH, echo)}
    for version, said in (
        (7, ""),
        (4, ""),
        (3, "has version 3"),
        (0, "has none"),
        (-1, "has none"),
    ):
        monkeypatch.setattr(tcp, "landlock_version", lambda version=version: version)
        assert (said in tcp.explain_absence()) and bool(said) == bool(tcp.explain_absence())
        doors = open_doors(handlers, "a-model")
        assert doors.forwarded == ("" if said else "model")
        rules = tcp.rules_of(replace(job(""), doors=doors))
        assert bool(rules["ports"]) != bool(said) and ("OPENAI_BASE" in str(rules)) != bool(said)
        assert rules["environment"]["OPENAI_MODEL"] == "a-model"
        doors.finish()
    monkeypatch.undo()
    doors = open_doors({"trial": ("/v1/trials", echo)})
    assert doors.forwarded == "" and "OPENAI" not in str(
        tcp.rules_of(replace(job(""), doors=doors))
    )
    doors.finish()
