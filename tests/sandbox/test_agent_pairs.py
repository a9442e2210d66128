"""Pairs of sockets in an agent's job: event loops need them, and nothing else comes in with them;
and each wall taken out.
"""

import pytest
from conftest import on, real_box
from test_agent_tcp import PERM, anew, job, need_port, run

from sandbox.box import seccomp, tcp

MSG_CALLS = "socketpair 53 199, sendmsg 46 211, recvmsg 47 212"
NOTHING = (0xFFFFFFFF, 0xFFFFFFFF)
"""No number of a system call."""
UNSUPPORTED = 95


@pytest.fixture(scope="module", params=[on("namespace"), on("docker")])
def box(request):
    made = real_box(request.param)
    yield made
    made.close()


def test_a_program_on_asyncio_asks_at_its_door_over_tcp_and_over_the_socket(box):
    need_port()
    told, counts = run(
        box,
        """
import asyncio
async def ask(opened, number):
    reader, writer = await opened
    body = json.dumps({"number": number}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    return [answer[9:12].decode(), json.loads(answer.partition(b"\\r\\n\\r\\n")[2])["number"]]
async def main():
    return await asyncio.gather(
        ask(asyncio.open_connection("127.0.0.1", 8000), 1),
        ask(asyncio.open_unix_connection("/doors/model"), 2),
        asyncio.to_thread(lambda: 3),
    )
tell(asyncio.run(main()))
""",
    )
    assert told == [[["200", 1], ["200", 2], 3]] and counts == {"asked": 2}


@pytest.mark.parametrize("stands", [True, False])
def test_a_pair_is_of_streams_and_passes_no_descriptor(box, monkeypatch, stands):
    if not stands:
        monkeypatch.setattr(seccomp, "SOCKETPAIR", NOTHING)
        monkeypatch.setattr(seccomp, "DOOR_CALLS", f"{seccomp.DOOR_CALLS}, {MSG_CALLS}")
    told, _ = run(
        box,
        """
def pair(family, kind=socket.SOCK_STREAM):
    return tried(lambda: socket.socketpair(family, kind))
def passed():
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [b"x"], [0])
    assert socket.recv_fds(theirs, 1, 1)[1]
tell([pair(socket.AF_UNIX, socket.SOCK_DGRAM), pair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    tried(passed), pair(socket.AF_INET), pair(socket.AF_NETLINK), pair(socket.AF_VSOCK)])
ours, theirs = socket.socketpair()
ours.sendall(b"plain")
tell([theirs.recv(9).decode(), *(tried(act) for act in (
    lambda: ours.send(b"x", socket.MSG_OOB),
    lambda: ours.bind("/tmp/own"),
    lambda: ours.listen(),
    lambda: ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1),
))])
""",
        forwarded="",
    )
    through = ["through"] * 3
    assert told[0] == [PERM] * 6 if stands else [*through, *[told[0][3]] * 3]
    if not stands:  # the kernel knows no such pairs
        assert told[0][3] in (UNSUPPORTED, 97)
    assert told[1] == ["plain", *[PERM] * 4]


@pytest.mark.parametrize("stands", [True, False])
def test_no_other_role_has_pairs_and_no_agent_without_a_door(monkeypatch, box, stands):
    if not stands:
        real = seccomp.program
        monkeypatch.setattr(
            tcp.seccomp, "program", lambda **given: real(**{**given, "doors": True})
        )
        engine = seccomp.profile
        monkeypatch.setattr(seccomp, "profile", lambda **given: engine(doors=True))
        box = anew(box)
    for role in ("train", "agent"):
        outcome = box.run(job("print(tried(socket.socketpair))", role))
        assert outcome.log.decode().split() == [str(PERM) if stands else "through"], outcome.log
