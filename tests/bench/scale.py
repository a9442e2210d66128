"""How far do workers carry a study, and what saturates first? Measured, simulated, extrapolated.

    P tests/bench/scale.py measure RESULTS.json [SECONDS]   studies of 1, 2, 4 and 8 workers
    P tests/bench/scale.py table RESULTS.json               measured beside simulated
    P tests/bench/scale.py paper RESULTS.json               10, 1,000 and 100,000 jobs at a time

P is .venv/bin/python. Jobs of a measured study sleep for SECONDS and compute nothing, so that the
processors do the loop's own work alone: plans, gates, grants, ledger (which waits for the disk),
judge. The simulation knows three things: the jobs of the study of one worker, the seconds of a job,
and the loop's seconds a job, which it takes from that study. The loop does one thing at a time;
jobs run side by side as `loop/study/workers.py` lets them.
"""

import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fakes import FakeBox  # noqa: E402
from studies import config, mandate  # noqa: E402

from loop import session  # noqa: E402
from loop.study import open as study_open  # noqa: E402
from sandbox import keys  # noqa: E402
from sandbox.ledger import Ledger  # noqa: E402

WORKERS = (1, 2, 4, 8)
SHAPES = {
    "four campaigns": ["study.arms=[local,random]", "study.repeats=2"],
    "one campaign": ["study.arms=[local]", "study.repeats=1"],
}
STUDY = (
    "study.start_trials=8",
    "study.proposals=8",
    "study.generations=3",
    "study.confirm_replicates=6",
    "study.final_replicates=4",
    "objective.first_look=3",
    "objective.feedback=rounded",
    "budget.jobs=4000",
    "gates.unattended.jobs=4000",
    "budget.cpu_seconds=4000",
    "gates.unattended.cpu_seconds=4000",
    "budget.looks.feedback=2000",
    "budget.looks.confirm=500",
)
"""Each campaign has eight jobs at a time where it screens, and two where it confirms."""
BUSY = 0.93
"""Share of their time that machines are to work for jobs."""
Batch = list[int]
"""Independent chains of jobs, each with its number of jobs; a batch begins when the last ended."""


class SleepingBox(FakeBox):
    """A box whose jobs take their time and no processor."""

    def __init__(self, seconds: float) -> None:
        super().__init__(lambda order: min(0.95, 0.3 + 0.1 * order.recipe.depth))
        self.seconds = seconds

    def run(self, execution: Any) -> Any:
        time.sleep(self.seconds)
        return super().run(execution)


def measure(results: Path, seconds: float = 0.25) -> None:
    """Play each study with each number of workers, in processes of their own; write the rows."""
    rows = []
    for shape in SHAPES:
        for workers in WORKERS:
            command = [sys.executable, __file__, "play", shape, str(workers), str(seconds)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print({name: value for name, value in rows[-1].items() if name != "batches"})
    results.write_text(json.dumps(rows))


def play(shape: str, workers: int, seconds: float) -> None:
    """Run a study once and print its row."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEIRLOOP_HOME"] = f"{folder}/home"
        keys.new_secret = lambda: keys.plain_secret(b"scale")  # the same jobs each time
        cfg = config(Path(folder), *STUDY, *SHAPES[shape], f"box.parallel={workers}")
        mandate(cfg)
        study_open.make_box = lambda _: SleepingBox(seconds)
        began, used = time.monotonic(), time.process_time()
        assert session.execute(cfg)["finished"]
        wall, cpu = time.monotonic() - began, time.process_time() - used
        entries = Ledger.at(Path(cfg.runs) / "t").entries()
        batches = list_batches(entries)
        jobs = sum(sum(batch) for campaign in batches for batch in campaign)
        assert jobs == sum(entry.kind == "job" for entry in entries)
        row = {
            "shape": shape,
            "workers": workers,
            "seconds": seconds,
            "jobs": jobs,
            "entries": entries[-1].sequence,
            "bytes": (Path(cfg.runs) / "t" / "ledger.sqlite").stat().st_size,
            "wall": wall,
            "cpu": cpu,
            "batches": batches,
        }
    print(json.dumps(row))


def list_batches(entries: list[Any]) -> list[list[Batch]]:
    """Return campaign -> its batches in order, from the entries of a study of one worker."""
    plans, chains = {}, defaultdict[Any, dict[Any, dict[Any, int]]](dict)
    for entry in entries:
        if entry.kind == "plan":
            plans[entry.body["digest"]] = entry.body["plan"]
        elif entry.kind == "job":
            name, role, index = (entry.body[part] for part in ("plan", "role", "index"))
            plan = plans[name]
            beside = role.startswith("champion")
            place: Any = name  # a closing look takes all its pairs at a time
            if plan["purpose"] in ("start", "candidate") and index == 0 and not beside:
                place = plan["purpose"], plan["generation"]  # screened side by side
            elif plan["purpose"] == "candidate":
                place = name, index - (not beside)  # a pair
            batch = chains[plan["arm"], plan["repeat"]].setdefault(place, defaultdict(int))
            batch[name, beside, index] += 1
    return [[list(batch.values()) for batch in own.values()] for own in chains.values()]


def simulate(batches: list[list[Batch]], workers: int, seconds: float, loop: float) -> float:
    """Return the seconds of a study of jobs of `seconds` each, where the loop works `loop` seconds
    for a job, for one job at a time.

    A worker without work takes a chain of a campaign under way, or else a further campaign.
    """
    to_come = [list(reversed(own)) for own in batches]
    unopened = list(reversed(range(len(batches))))
    ready: list[tuple[int, int]] = []  # chains that a worker may take: campaign, jobs
    open_chains = [0] * len(batches)
    events: list[tuple[float, int, int]] = []  # ends of jobs: time, campaign, jobs left
    now = loop_free = 0.0
    free = workers

    def open_batch(campaign: int) -> None:
        if to_come[campaign]:
            batch = to_come[campaign].pop()
            open_chains[campaign] = len(batch)
            ready.extend((campaign, jobs) for jobs in batch)

    def begin_job(campaign: int, jobs: int) -> None:
        nonlocal loop_free
        loop_free = max(loop_free, now) + loop
        heapq.heappush(events, (loop_free + seconds, campaign, jobs - 1))

    while True:
        while free and (ready or unopened):
            if not ready:
                open_batch(unopened.pop())
            begin_job(*ready.pop(0))
            free -= 1
        if not events:
            return now
        now, campaign, jobs = heapq.heappop(events)
        if jobs:
            begin_job(campaign, jobs)
            continue
        free += 1
        open_chains[campaign] -= 1
        if not open_chains[campaign]:
            open_batch(campaign)


def loop_seconds(row: dict[str, Any]) -> float:
    """Return the loop's seconds a job, from a study of one worker."""
    return (row["wall"] - row["jobs"] * row["seconds"]) / row["jobs"]


def table(results: Path) -> None:
    """Print measured and simulated seconds, as Markdown."""
    rows = json.loads(results.read_text())
    print("| study | workers | measured, s | simulated, s | ratio | times faster than one |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        one = next(one for one in rows if one["shape"] == row["shape"])
        told = simulate(one["batches"], row["workers"], one["seconds"], loop_seconds(one))
        print(
            f"| {row['shape']}, {row['jobs']} jobs | {row['workers']} | {row['wall']:.1f} |"
            f" {told:.1f} | {told / row['wall']:.2f} | {one['wall'] / row['wall']:.2f} |"
        )
    print()
    for one in (row for row in rows if row["workers"] == 1):
        loop, cpu = 1e3 * loop_seconds(one), 1e3 * one["cpu"] / one["jobs"]
        print(f"{one['shape']}: {loop:.1f} ms of the loop a job, {cpu:.1f} of them on a processor")


def paper(results: Path) -> None:
    """Print what one loop of these constants can feed, as Markdown."""
    one = json.loads(results.read_text())[0]
    loop, each = loop_seconds(one), one["bytes"] / one["jobs"]
    print(f"{1e3 * loop:.1f} ms of the loop a job, {each / 1e3:.1f} kB of ledger\n")
    print(f"| jobs at a time | a job lasts at least, for {BUSY} of the time | ledger a day |")
    print("|---|---|---|")
    for jobs in (10, 1_000, 100_000):
        # A job waits for the loop's own work, and the loop works for one job at a time.
        least = max(loop * BUSY / (1 - BUSY), loop * jobs * BUSY)
        daily = BUSY * jobs / least * 86_400 * each
        print(f"| {jobs:,} | {least:,.1f} s | {daily / 1e9:.1f} GB |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", results, *seconds]:
            measure(Path(results), *map(float, seconds))
        case ["play", shape, workers, seconds]:
            play(shape, int(workers), float(seconds))
        case ["table", results]:
            table(Path(results))
        case ["paper", results]:
            paper(Path(results))
        case _:
            sys.exit(__doc__)
