"""`make bench`, the gates: an inbox with a thousand waiting plans, a drill of eight jobs, report
and export of a long ledger. No figure is a test.

`gates.py report [ENTRIES]` measures report, export and its verification alone; `gates.py scale
[GENERATIONS...]` what a generation costs in short and in long runs.
"""

import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in (".", "tests", "tests/loop", "tests/sandbox")]


def inbox(folder: Path) -> None:
    """A page of the list with 1,000 waiting plans, over HTTP: milliseconds, and what two hundred
    views add to the memory.
    """
    import httpx
    from fakes import FakeBox
    from studies import SMALL
    from web import served

    from configs.errors import NeedsHuman
    from loop import session
    from loop.people.requests import open_gate
    from loop.settings import compose_settings
    from loop.study import launch
    from sandbox import keys
    from sandbox.canonical import digest

    keys.new_key("ada", "person", "correct horse")
    launch.make_box = lambda _: FakeBox(lambda order: 0.1)
    try:
        session.execute(
            compose_settings([*SMALL, f"runs={folder}", "autonomy=assisted", "gates=attended"])
        )
    except NeedsHuman:
        gate = open_gate(folder / "t")
    plan = next(e.body["plan"] for e in gate.ledger.entries() if e.kind == "plan")
    with gate.ledger.transaction() as txn:
        for n in range(1000):
            one = plan | {"hypothesis": f"idea {n}"}
            txn.append("plan", {"digest": digest(one), "plan": one})
            txn.append(
                "request",
                {
                    "plan": digest(one),
                    "class": "recipe",
                    "arm": "local",
                    "at": 1,
                    "expires": 2**40 + n,
                },
            )
    with (
        served(folder) as address,
        httpx.Client(base_url=address, headers={"origin": address}) as http,
    ):
        key = keys.open_key("ada", "correct horse")
        nonce = http.get("/enter").text.partition('data-nonce="')[2].partition('"')[0]
        said = {"nonce": nonce, "origin": address, "public": keys.public_hex(key)}
        assert (
            http.post(
                "/enter", data={"envelope": keys.sign(said, key, "sign-in").decode()}
            ).status_code
            == 303
        )
        plain = [took(lambda: http.get("/static/inbox.css")) for _ in range(20)]
        first, times = (
            took(lambda: http.get("/")),
            [took(lambda at=at: http.get(f"/?at={at % 20}")) for at in range(40)],
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for at in range(200):
            http.get(f"/?at={at % 20}")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    middle, base = statistics.median(times), statistics.median(plain)
    print(
        f"inbox, a page of 1,000 waiting: first {first * 1e3:.0f}, median {middle * 1e3:.0f}, worst"
        f" {max(times) * 1e3:.0f} ms (target 300 ms), {middle / base:.0f}x a static file; 200 more"
        f" views add {grown:.1f} MiB to the peak"
    )


def took(act) -> float:
    started = time.perf_counter()
    assert act().status_code == 200
    return time.perf_counter() - started


def drill(folder: Path) -> None:
    """Stop eight running jobs for practice, five times: seconds from the order until no job is
    left.
    """
    from test_control import HEIRLOOP, LONG, SLEEPS, live

    from sandbox import control

    settings = [*LONG, "study.repeats=8", "box.parallel=8", "box=namespace", f"runs={folder}"]
    subprocess.run(
        [*HEIRLOOP, "mandate", "grant", "--unattended", *settings],
        check=True,
        capture_output=True,
        cwd=ROOT,
    )
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPS, "run", *settings],
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        start_new_session=True,
    )
    found = []
    try:
        for _ in range(2):  # a job is granted anew three times at most
            while len(live(process.pid)) < 8:
                assert process.poll() is None, "the study ended"
                time.sleep(0.1)
            told = control.drill(folder / "t", "bench")
            assert (told["jobs"], told["left"]) == (8, 0), told
            found.append(told["seconds"])
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    print(
        f"drill of 8 jobs until none is left: {', '.join(f'{s * 1e3:.0f}' for s in found)} ms"
        " (target 1000 ms)"
    )


OPEN = (
    "import sys; from pathlib import Path; from sandbox.ledger import Ledger;"
    " Ledger.file(Path(sys.argv[1]) / 'ledger.sqlite')"
)


def report(folder: Path, least: int = 100_000) -> None:
    """Report a ledger of so many entries in a process of its own: seconds, CPU-seconds, largest
    resident memory, bytes of the page.
    """
    spent(
        [sys.executable, __file__, "long", str(folder), str(least)]
    )  # not here: a child begins with what its parent holds
    long = folder / "long"
    _, opened, _ = spent([sys.executable, "-c", OPEN, str(long)])
    seconds, cpu, most = spent([str(ROOT / ".venv/bin/heirloop"), "report", str(long)])
    sizes = ", ".join(
        f"{name} {(long / name).stat().st_size / 1e6:.2f} MB"
        for name in ("ledger.sqlite", "report.html", "report.json")
    )
    print(
        f"report of at least {least} entries: {seconds:.1f} s (target 10 s), {cpu:.1f} CPU-s,"
        f" {cpu / opened:.1f}x opening the ledger ({opened:.1f} CPU-s), {most:.0f} MiB resident"
        f" (target 477 MiB = 500 MB); {sizes}"
    )
    for what, more in (("export", ["--csv-only", "--to", str(folder / "export")]), ("verify", [])):
        seconds, cpu, most = spent(
            [
                str(ROOT / ".venv/bin/heirloop"),
                what,
                str(long if more else folder / "export"),
                *more,
            ]
        )
        print(
            f"{what} of the same: {seconds:.1f} s, {cpu:.1f} CPU-s, {cpu / opened:.1f}x opening the"
            f" ledger, {most:.0f} MiB resident"
        )


def long(folder: Path, least: int) -> None:
    """Write a ledger of so many entries."""
    from fakes import FakeBox, longer
    from studies import SMALL, better, config, mandate

    from loop import session
    from loop.study import launch
    from sandbox import keys
    from sandbox.heads import checkpoint, places
    from sandbox.ledger import Ledger

    cfg = config(
        folder, *SMALL[:2], "study.generations=6", "study.proposals=4", "study.arms=[local, random]"
    )
    mandate(cfg)
    launch.make_box = lambda _: FakeBox(better)
    session.execute(cfg)
    book = Ledger.file(longer(folder / "runs" / "t", folder / "long", least) / "ledger.sqlite")
    first = next(iter(book.entries()))
    checkpoint(
        book,
        keys.signer(keys.load_secret(first.body["secret"])),
        places(folder / "long", first.hash),
    )


LEAST = [
    "study=planted",
    "study.name=t",
    "task.world='null'",
    "task.held_out=20",
    "study.arms=[planted]",
    "study.repeats=1",
    "study.proposals=1",
    "study.confirm_replicates=1",
    "study.final_replicates=0",
    "objective.acceptance=greedy",
    "objective.first_look=1",
]
"""The least generation that trains: a screening, and one pair of a confirmation; three trainings
and three predictions, simulated.
"""
CAPS = [
    f"{name}=1000000"
    for name in (
        "budget.jobs",
        "gates.unattended.jobs",
        "gates.unattended.per_hour",
        "gates.unattended.drift",
    )
]
CAPS += [
    f"{name}=100000000"
    for name in (
        "budget.cpu_seconds",
        "budget.wall_seconds",
        "gates.unattended.cpu_seconds",
        "budget.output_mib",
        "budget.looks.feedback",
        "budget.looks.confirm",
    )
]


def scale(folder: Path, sizes: list[int]) -> None:
    """Run planted campaigns of several lengths, each in a process of its own: per generation CPU
    and wall milliseconds, entries, memory.
    """
    first: list[float] = []
    for number, size in enumerate(sizes):
        own = folder / str(number)
        command = [sys.executable, __file__, "campaign", str(own), str(size)]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            # A thread, as `heirloop` sets it before numpy loads: others would only spin.
            env={**os.environ, "HEIRLOOP_HOME": f"{own}/home", "OPENBLAS_NUM_THREADS": "1"},
        )
        cpu, wall, entries, most = map(float, done.stdout.split()[-4:])
        each = cpu / size * 1e3
        first = first or [each, most]
        print(
            f"{size} generations: {cpu:.0f} CPU-s, {wall:.0f} s (target 120 s for 10,000),"
            f" {entries / size:.1f} entries a generation (target 20); {each:.1f} CPU-ms a"
            f" generation (target 12), {each / first[0]:.2f}x the first row's,"
            f" {each / (entries / size):.2f} an entry; {most:.0f} MiB at most,"
            f" {most / first[1]:.2f}x the first row's",
            flush=True,
        )


def campaign(folder: Path, generations: int) -> None:
    """Run one planted campaign to its end and print CPU-seconds, seconds, entries and the largest
    resident MiB.
    """
    from test_simulated import loop_alone

    from loop.settings import compose_settings
    from sandbox.ledger import Ledger

    cfg = compose_settings(
        [*LEAST, *CAPS, f"study.generations={generations}", f"runs={folder}/runs"]
    )
    cpu, wall = time.process_time(), time.perf_counter()
    done = loop_alone(cfg)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    last = Ledger.at(done).head()
    print(cpu, wall, last.sequence if last else 0, most)


def spent(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return wall seconds, CPU-seconds and its largest resident MiB."""
    started, process = (
        time.perf_counter(),
        subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT),
    )
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["campaign"]:
        sys.exit(campaign(Path(sys.argv[2]), int(sys.argv[3])))
    if sys.argv[1:2] == ["long"]:
        sys.exit(long(Path(sys.argv[2]), int(sys.argv[3])))
    with tempfile.TemporaryDirectory() as name:
        os.environ["HEIRLOOP_HOME"] = f"{name}/home"
        if sys.argv[1:2] == ["report"]:
            report(Path(name), *map(int, sys.argv[2:3]))
        elif sys.argv[1:2] == ["scale"]:
            scale(
                Path(name), [int(size) for size in sys.argv[2:]] or [1000, 3000, 10_000, 1000]
            )  # the last row tells how far the machine drifted
        else:
            inbox(Path(name) / "inbox")
            drill(Path(name) / "drill")
            report(Path(name) / "report")
