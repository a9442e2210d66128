"""One contract for every box: the fake where it can, the namespace box cold and warm, Docker. An
attack is a test.
"""

import os
import re
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT, need_box, on
from fakes import FakeBox, outcome

from configs.job import Limits
from configs.records import KILLED
from sandbox.box.base import STOPPED, Execution, is_whole
from sandbox.box.docker import DockerBox
from sandbox.box.namespace import NamespaceBox

OUT = {"weights.safetensors": 1000, "claims.json": 100}
HEAD = "import os, sys, time, socket\nfrom pathlib import Path\ndef main(i, o):\n"


@pytest.fixture(
    scope="module", params=[on("cold"), on("warm"), on("docker-cold"), on("docker-warm")]
)
def box(request):
    if request.param.startswith("docker"):
        made = need_box(
            lambda: DockerBox("heirloop-box", warm=request.param == "docker-warm"), "docker"
        )
    else:
        made = need_box(lambda: NamespaceBox(ROOT / ".box", warm=request.param == "warm"))
    yield made
    made.close()


def execute(box, body, **limits):
    text = HEAD + "".join(f"    {line}\n" for line in body.splitlines())
    files = {"models/__init__.py": b"", "models/train.py": text.encode(), "job.json": b"{}"}
    return box.run(Execution(role="train", files=files, limits=Limits(**limits), outputs=OUT))


def test_the_fake_keeps_the_shape_of_the_contract():
    fake = FakeBox(
        lambda order: 1.0, lambda execution: outcome(files={"weights.safetensors": b"w"})
    )
    assert execute(fake, "pass").files == {"weights.safetensors": b"w"}


class TestContract:
    def test_outputs_log_and_charge(self, box):
        result = execute(
            box,
            '(o / "weights.safetensors").write_bytes(b"w" * 10)\n(o /'
            ' "other").write_bytes(b"x")\nprint("hi")',
        )
        assert (result.status, result.detail, result.files, result.log) == (
            "ok",
            "exit 0",
            {"weights.safetensors": b"w" * 10},
            b"hi\n",
        )
        assert result.cpu_us > result.startup_cpu_us >= 0 and result.wall_us > 0

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            ("sys.exit(3)", "exit 3"),
            ("raise ValueError('x')", "exit 1"),
            ("os.kill(os.getpid(), 11); time.sleep(1); os._exit(9)", "exit 9"),
            (
                'os.symlink("/in/job.json", o / "weights.safetensors")',
                "weights.safetensors is a link or cannot be opened",
            ),
            (
                'os.mkfifo(o / "weights.safetensors")',
                "weights.safetensors is not a regular file with one link",
            ),
            (
                (
                    'os.link("/out/a" if (o / "a").write_bytes(b"1") else "", o /'
                    ' "weights.safetensors")'
                ),
                "weights.safetensors is not a regular file",
            ),
            (
                '(o / "weights.safetensors").write_bytes(b"w" * 1001)',
                "weights.safetensors has 1001 bytes; at most 1000",
            ),
            (
                'f = open(o / "weights.safetensors", "wb"); f.truncate(30_000_000)',
                "weights.safetensors has 30000000 bytes",
            ),
        ],
    )
    def test_the_program_fails(self, box, body, detail):
        result = execute(box, body)
        if detail == "exit 9" and box.kind == "docker":
            # there the job is not pid 1 of its namespace, whom no signal of its own can kill
            detail = "signal 11"
        assert result.status == "program" and result.detail.startswith(detail)

    def test_no_output_is_an_ok_run_without_files(self, box):
        assert execute(box, "pass").files == {}

    @pytest.mark.parametrize(
        ("body", "limits", "name"),
        [
            ("time.sleep(60)", {"wall_us": 1_500_000}, "wall"),
            ("while True: pass", {"cpu_us": 300_000}, "cpu"),
            (
                "for _ in range(4):\n    if os.fork() == 0:\n        break\nwhile True: pass",
                {"cpu_us": 400_000},
                "cpu",
            ),
            (
                "for _ in range(200): sys.stdout.write('x' * 1_000_000)",
                {"output_bytes": 1_000_000},
                "output",
            ),
            (
                "b = []\nwhile True: b.append(bytearray(b'x' * 10_000_000))",
                {"memory_bytes": 150_000_000},
                "memory",
            ),
            (
                "while True:\n    try:\n        os.fork()\n    except OSError: time.sleep(0.1)",
                {"processes": 20},
                "processes",
            ),
        ],
        ids=["sleep", "burn", "burn in children", "print 200 MB", "allocate", "fork"],
    )
    def test_a_limit_ends_the_job(self, box, body, limits, name):
        if box.tier == "C" and name in ("memory", "processes"):
            pytest.skip(
                "no writable control group: memory and processes are bounded per process only"
            )
        result = execute(box, body, **limits)
        if name == "memory" and result.status == "program":
            assert "exit" in result.detail  # RLIMIT_DATA refused the allocation first
        else:
            assert (result.status, result.detail) == ("limit", name)
        assert len(result.log) <= Limits().log_bytes and result.files == {}

    def test_a_double_fork_is_charged(self, box):
        if box.tier == "C":
            pytest.skip("no writable control group: wall is charged, which covers it")
        burn = (
            "        t = time.process_time()\n        while time.process_time() - t < 0.5: pass\n"
        )
        body = (
            "waiting, done = os.pipe()\nif os.fork() == 0:\n    if os.fork() == 0:\n"
            + burn
            + "    os._exit(0)\nos.close(done)\nos.read(waiting, 1)"
        )
        result = execute(box, body)
        assert result.cpu_us - result.startup_cpu_us > 450_000

    def test_a_daemon_does_not_survive(self, box):
        result = execute(
            box, "if os.fork() == 0:\n    os.setsid()\n    time.sleep(100)\nprint('done')"
        )
        assert result.status == "ok" and result.wall_us < 60_000_000

    def test_disk_is_bounded(self, box):
        body = (
            "try:\n    for n in range(99): open(f'{D}/{n}', 'wb').write(b'x' * 1_000_000)\nexcept"
            " OSError as e: print(e.errno)"
        )
        for folder in ("/tmp", "/dev/shm", "/out"):
            result = execute(box, f"D = {folder!r}\n{body}", disk_bytes=5_000_000)
            assert result.log in (b"28\n", b"27\n")

    def test_it_sees_itself_alone(self, box, monkeypatch):
        monkeypatch.setenv("CANARY", "secret-of-the-host")
        body = (
            "print([p for p in os.listdir('/proc') if p.isdigit()], os.getuid() !="
            " 0)\nprint(sorted(os.environ))\nprint(sorted(int(f) for f in"
            " os.listdir('/proc/self/fd'))[:3],"
            " "
            f"os.path.exists('/root/x'))\nprint(os.path.exists({str(ROOT)!r}))\n"
            "print(len(os.listdir('/proc/self/fd')),"
            " open('/proc/self/status').read().split('CapEff:')[1].split()[0])"
        )
        pids, environment, *rest = execute(box, body).log.decode().splitlines()
        alone = (
            r"\['1'\] True" if box.kind == "namespace" else r"\['1', '\d+'\] True"
        )  # pid 1 is Docker's collector
        assert re.fullmatch(alone, pids)
        names = "HOME LC_ALL LD_LIBRARY_PATH MKL_NUM_THREADS OMP_NUM_THREADS PATH"
        assert environment == str(names.split())
        assert rest == [
            "[0, 1, 2] False",
            "False",
            "4 0000000000000000",
        ]  # 0, 1, 2 and the listing itself

    def test_a_job_computes_in_huge_pages_where_the_kernel_gives_them(self, box):
        """A forked job faults in 10 MB at once, where pages of 4 kB take it thousands of times."""
        asked = Path("/sys/kernel/mm/transparent_hugepage/enabled")
        if not asked.exists() or "[never]" in asked.read_text():
            pytest.skip("this kernel gives no huge pages")
        body = (
            "held = bytearray(b'x') * 10_000_000\n"
            "told = Path('/proc/self/smaps_rollup').read_text()\n"
            "print(told.split('AnonHugePages:')[1].split()[0])"
        )
        assert int(execute(box, body).log) >= 6_000

    def test_no_network_no_writes_to_inputs_no_trusted_packages(self, box):
        body = (
            "for act in (lambda: socket.create_connection(('127.0.0.1', 22), 1), lambda:"
            " socket.getaddrinfo('example.org', 80),\n            lambda: open('/in/job.json',"
            " 'w'), lambda: open('/x', 'w'), lambda: __import__('sklearn'),\n            lambda:"
            " __import__('sqlalchemy'), lambda: __import__('pip'), lambda: open('/opt/box/x',"
            " 'w')):\n    try: act(); print('GOT THROUGH')\n    except (OSError, ImportError) as e:"
            " print('denied')"
        )
        assert execute(box, body).log == b"denied\n" * 8

    def test_the_next_job_finds_nothing_of_the_last(self, box):
        execute(box, "for d in ('/tmp', '/dev/shm', '/out'): open(d + '/left', 'w').write('x')")
        result = execute(box, "print([os.listdir(d) for d in ('/tmp', '/dev/shm', '/out')])")
        assert result.log == b"[[], [], []]\n"

    def test_jobs_run_side_by_side_and_do_not_see_each_other(self, box):
        found = []
        body = "time.sleep(0.5)\nprint([p for p in os.listdir('/proc') if p.isdigit()])"
        threads = [
            threading.Thread(target=lambda: found.append(execute(box, body).log)) for _ in range(2)
        ]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert len(found) == 2 and all(
            len(eval(pids)) == {"namespace": 1, "docker": 2}[box.kind] for pids in found
        )

    def test_the_collector_is_out_of_sight(self, box):
        body = (
            "print(os.getppid())\nfor act in (lambda: os.listdir('/proc/1/fd'), lambda:"
            " open('/proc/1/environ').read(), lambda: os.kill(1, 9)):\n"
        )
        body += "    try: print('GOT THROUGH', act())\n    except OSError: print('denied')"
        result = execute(box, body if box.kind == "docker" else "print(os.getppid())")
        sent = (
            b"GOT THROUGH None" if result.log.endswith(b"None\n") else b"denied"
        )  # without Landlock it is sent, and ignored
        expected = b"1\ndenied\ndenied\n" + sent + b"\n" if box.kind == "docker" else b"0\n"
        assert (result.status, result.detail, result.log) == ("ok", "exit 0", expected)


class Running:
    """A job that sleeps in a box."""

    def __init__(self, box):
        self.box, self.found = box, []
        self.thread = threading.Thread(
            target=lambda: self.found.append(execute(box, "print('up')\ntime.sleep(60)"))
        )
        self.thread.start()
        deadline = time.monotonic() + 60
        while not (box._live and len(self.chain()) > 1) and time.monotonic() < deadline:
            time.sleep(0.02)

    def chain(self):
        """Return the pids of collector and job."""
        if self.box.kind == "docker":
            pid = self.box._api().inspect_container(next(iter(self.box._live)))["State"]["Pid"]
        else:
            ((pid, _),) = self.box._live
        found = [pid]
        with suppress(OSError):
            while below := Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text().split():
                found.append(int(below[0]))
        return found

    def end(self):
        self.thread.join(30)
        return self.found[0]


def make_cold(kind):
    docker = kind.startswith("docker")
    make = partial(DockerBox, "heirloop-box") if docker else partial(NamespaceBox, ROOT / ".box")
    return need_box(partial(make, warm=False), "docker" if docker else "namespace")


@pytest.mark.parametrize("kind", [on("cold"), on("docker-cold")])
def test_stop_kills_a_running_job_which_then_did_not_fail(kind):
    """It is granted anew, and lost none of its tries."""
    box = make_cold(kind)
    job = Running(box)
    box.stop()
    for ended in (job.end(), execute(box, "pass")):
        assert (ended.status, ended.detail) == ("box", STOPPED) and STOPPED.startswith(KILLED)
    box.close()


@pytest.mark.parametrize(
    ("kind", "victim", "status"),
    [
        ("cold", "collector", "box"),
        ("warm", "collector", "box"),
        pytest.param("docker-cold", "collector", "box", marks=pytest.mark.docker),
        # a job can end so by its own doing, and who did it cannot be told
        ("cold", "job", "program"),
        pytest.param("docker-cold", "job", "program", marks=pytest.mark.docker),
    ],
)
def test_a_job_that_somebody_kills_from_outside_is_lost_and_did_not_fail(kind, victim, status):
    box = need_box(partial(NamespaceBox, ROOT / ".box")) if kind == "warm" else make_cold(kind)
    job = Running(box)
    os.kill(job.chain()[["collector", "job"].index(victim)], signal.SIGKILL)
    ended = job.end()
    assert ended.status == status and not ended.detail.startswith(KILLED), ended
    assert execute(box, "pass").status == "ok"
    box.close()


@pytest.mark.parametrize("kind", [on("cold"), on("docker-cold")])
def test_a_job_cannot_end_itself_as_somebody_outside_would(kind):
    """A fault of its first process opens that to a SIGKILL of a child, while it dies."""
    body = """
import ctypes, threading
for _ in range(3):
    if os.fork() == 0:
        kill = ctypes.CDLL(None).kill
        while True: kill(1, 9)
for _ in range(50): threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
time.sleep(0.2)
ctypes.string_at(0)
"""
    box = make_cold(kind)
    lost = [execute(box, body, processes=128) for _ in range(3)]
    assert {one.status for one in lost} <= {"program", "limit"}, lost
    box.close()


@pytest.mark.parametrize("kind", [on("cold"), on("docker-cold")])
def test_a_stop_while_a_job_begins_leaves_none_alive(kind, monkeypatch):
    """The stop comes when the job's process lives and the box has not yet entered it."""
    box = make_cold(kind)
    admit = box._admit

    def stopped_first(job):
        box.stop()
        return admit(job)

    monkeypatch.setattr(box, "_admit", stopped_first)
    result = execute(box, "time.sleep(20)")
    assert (result.status, result.detail) == ("box", STOPPED) and not box._live
    box.close()


def test_a_stream_is_whole_with_its_last_byte_and_not_before():
    header = b'{"exit": 0, "refused": "", "files": [["a", 3], ["b", 2]]}'
    stream = len(header).to_bytes(4, "big") + header + b"aaabb"
    assert [is_whole(stream[:n]) for n in range(len(stream) + 1)] == [False] * len(stream) + [True]
    assert is_whole(stream + b"more")  # unpack refuses it
    for bad in (b"", b"\0\0\0\4nope", b"\0\0\0\2{}", b'\0\0\0\x0f{"files": [[]]}', b"\xff" * 40):
        assert not is_whole(bad)


def test_a_warm_box_compiles_a_shipped_file_once_and_a_changed_one_in_its_job():
    """Exact bytes at the exact place: nothing else is taken for what was compiled before."""
    body = """
from importlib.machinery import SourceFileLoader
from models import net, own
def same(path, data):
    load = SourceFileLoader("x", path).source_to_code
    return load(data, path) is load(data, path)
print(net.x, own.x, same("/in/models/own.py", b"x = 1"), same("/in/models/net.py", b"x = 1"),
    same("/in/models/net.py", b"x = 2"), same("/in/other.py", b"x = 1"))
"""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    files = {
        "models/__init__.py": b"",
        "models/train.py": (HEAD + lines).encode(),
        "models/net.py": b"x = 2",
        "models/own.py": b"x = 1",
        "job.json": b"{}",
    }
    shipped = {"models/net.py": b"x = 1", "models/own.py": b"x = 1"}
    job = Execution(role="train", files=files, limits=Limits(), outputs=OUT)
    for warm in (True, False):
        box = need_box(lambda warm=warm: NamespaceBox(ROOT / ".box", warm=warm, shipped=shipped))
        try:
            once = str(warm)
            assert box.run(job).log.decode().split() == ["2", "1", once, once, "False", "False"]
        finally:
            box.close()
