"""Studies that are really killed: at a random instant, again and again.

`crash` forks a process that runs a study, kills it, its box or a collector after a random time
and starts it again, until it ends. `kept` tells what a study found, which no kill may change, and
`flaws` what a kill may never leave behind.
"""

import collections
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from configs.errors import Interrupted, NoBox
from configs.settings.config import Config
from loop import session
from loop.settings import compose_settings
from loop.verify.run import verify
from sandbox import keys
from sandbox.box.kill import find_processes
from sandbox.budget import Balances, balances
from sandbox.heads import open_ledger

Play = Callable[[], object]
NO_BOX = 75
"""Exit code of a process whose box did not start."""
ENDED = 76
"""Exit code of a process that Ctrl-C ended."""
KINDS = {
    "program": ["study.arms=[planted,random]"],
    "weights": ["study.arms=[self]", "task.notebook=true", "study.skill_proposals=2"],
    "reviewer": [
        "study.arms=[planted]",
        "autonomy=assisted",
        "reviewer=scripted",
        "gates=attended",
        "gates.canaries=1.0",
        "gates.requests_per_hour=100000",
    ],
}
"""Planted studies whose proposers are a program, weights, and a program under a reviewer."""
REAL = [
    "study=single",
    "task=fast-v1",
    "box=namespace",
    "box.parallel=2",
    "study.name=t",
    "study.arms=[random]",
    "study.repeats=1",
    "study.generations=1",
    "study.proposals=2",
    "study.confirm_replicates=4",
    "study.final_replicates=4",
    "objective.acceptance=greedy",
    "objective.first_look=2",
    *(f"budget.{role}.wall_us=600000000" for role in ("train", "predict", "propose")),
    *(f"budget.{account}_seconds=1000000" for account in ("cpu", "wall")),
]
"""A small study whose trainings are real, in a box. What a killed job reserved stands as spent, so
the budget must bear any number of kills."""


SPANS = {**dict.fromkeys(KINDS, 1.0), "real": 15.0}
"""Kind of study -> seconds within which each of its processes is killed."""


ANY_CHARGE = 1e6
"""`judge.OVER_BUDGET` under which no verdict hangs on measured CPU-time: a training of a second on
a crowded machine can be charged a quarter more than its plan, and another study follows."""


def compose(kind: str, seed: int) -> Config:
    """Return a small study, planted or real, in the folder `runs` of the working directory."""
    if kind == "real":
        return compose_settings([*REAL, f"study.seed={seed}"])
    return compose_settings(
        [
            "study=planted",
            "study.name=t",
            f"study.seed={seed}",
            "study.repeats=2",
            "study.generations=2",
            "study.proposals=2",
            "study.start_trials=8",
            "study.confirm_replicates=6",
            "study.final_replicates=4",
            "objective.acceptance=paired_t",
            "objective.alpha=0.3",
            "task.world=linear",
            *KINDS[kind],
        ]
    )


def play(cfg: Config) -> None:
    """Run a study as the command does, to its end. Its secret, and with it its luck, is the same
    however often it begins anew; for a process of its own, see `crash`.
    """
    keys.new_secret = lambda: keys.plain_secret(b"crashes")
    assert session.execute(cfg)["finished"]


def crash(play: Play, rng: random.Random, span: float, most: int) -> int:
    """Run a study in processes that are killed at random within `span` seconds; return the kills.

    Kills are densest near the start, where a study is made or reopened. A kill hits the loop, with
    SIGKILL or as Ctrl-C does, or a process of its boxes; a box that was killed while it
    started is no box, which ends the loop, and the same command goes on. After `most` kills the
    study is left alone. Raises RuntimeError where a process fails by itself.
    """
    kills = pid = 0
    hit = False
    while True:
        if not pid:
            pid, hit = _begin(play), False
        code = _end(pid, span * rng.random() ** 3 if kills < most else None)
        if code == 0:
            return kills
        if code is None:
            victim = rng.choice([pid, *_below(pid)])
            asked = victim == pid and rng.random() < 0.4
            with suppress(ProcessLookupError):  # a box may have ended by itself
                os.kill(victim, signal.SIGINT if asked else signal.SIGKILL)
                kills, hit = kills + 1, victim != pid or hit
            if victim != pid:
                continue
            ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if asked and ended == 0:  # it came too late
                return kills
            if asked and ended != ENDED:
                raise RuntimeError(f"Ctrl-C ended the study with {ended}")
        elif code != NO_BOX or not hit:
            raise RuntimeError(f"the study ended with {code}")
        pid = 0


def _below(pid: int) -> list[int]:
    """Return the boxes of a loop and the processes in them, the collectors of their jobs too.

    A job alone is left: its SIGKILL may be its own doing, so it counts as its program's failure.
    """
    found = list(find_processes(pid))
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, task.read_text().split())
    return [one for one in found if not _is_job(one)]


def _is_job(pid: int) -> bool:
    """Tell whether a process is in a pid namespace within that of its box, or gone."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return len(next(line for line in lines if line.startswith("NSpid")).split()) > 3
    return True


def _begin(play: Play) -> int:
    """Play in a forked process, which ends without its parent's clean-up; return its number."""
    sys.stdout.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        play()
        os._exit(0)
    except (Interrupted, KeyboardInterrupt):
        os._exit(ENDED)
    except BaseException as error:
        traceback.print_exc()
        os._exit(NO_BOX if isinstance(error, NoBox) else 1)


def _end(pid: int, seconds: float | None) -> int | None:
    """Wait for so many seconds at most; return a process's exit code, None while it lives."""
    end = time.monotonic() + (seconds or 0)
    while seconds is None or time.monotonic() < end:
        done, status = os.waitpid(pid, 0 if seconds is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    return None


def kept(cfg: Config) -> dict[str, Any]:
    """Return what a study found: champions, verdicts, scores and looks of each campaign, sorted.

    Plans are named by what they are, since a digest holds times and signatures of chance. Measured
    CPU-time is left out: of a real training no two are alike.
    """
    found: dict[str, list[Any]] = collections.defaultdict(list)
    names: dict[str, tuple[Any, ...]] = {}
    for entry in entries(cfg):
        body = entry.body
        if entry.kind == "plan":
            plan = body["plan"]
            place = (plan["arm"], plan["repeat"], plan["generation"], plan["index"])
            names[body["digest"]] = (*place, plan["purpose"], str(plan["recipe"]))
            found[f"{plan['arm']} {plan['repeat']} plans"].append(names[body["digest"]])
        elif entry.kind in ("verdict", "champion", "score", "look"):
            name = names[body["plan"]]
            told = {key: body.get(key) for key in ("split", "role", "index", "scores", "verdict")}
            found[f"{name[0]} {name[1]} {entry.kind}"].append((name, str(_settled(told))))
    return {name: sorted(rows) for name, rows in found.items()}


def _settled(value: Any) -> Any:
    """Return a value without what was measured by a clock."""
    if isinstance(value, dict):
        if value.get("name") == "planned compute":
            return {**value, "value": None}
        return {key: _settled(one) for key, one in value.items() if not key.endswith("cpu_us")}
    return [_settled(one) for one in value] if isinstance(value, list) else value


def entries(cfg: Config) -> list[Any]:
    """Return the entries of a study, and close its ledger: a process is forked again after it."""
    with closing(open_ledger(folder_of(cfg))) as ledger:
        return list(ledger.entries())


def lost_jobs(cfg: Config) -> int:
    """Return how many jobs a kill ended, which were then granted anew."""
    ends = [entry.body["result"] for entry in entries(cfg) if entry.kind == "job"]
    return sum(result["status"] == "box" for result in ends)


def folder_of(cfg: Config) -> Path:
    """Return the folder of a study."""
    return Path(cfg.runs) / cfg.study.name


def flaws(cfg: Config) -> list[str]:
    """Return what a kill left behind and never may: nothing, where the promises hold."""
    verify(folder_of(cfg))
    with closing(open_ledger(folder_of(cfg))) as ledger:
        return list(list_flaws(ledger.entries(), ledger.read(balances)))


def list_flaws(lines: Iterable[Any], accounts: Balances) -> Iterable[str]:
    """Yield the flaws of entries and accounts: work that counts twice, or that has no end."""
    ended = collections.Counter[tuple[Any, ...]]()
    started, settled = collections.Counter[str](), collections.Counter[str]()
    for line in lines:
        body = line.body
        if line.kind == "start":
            started[body["grant"]["nonce"]] += 1
        elif line.kind == "job":
            settled[body["nonce"]] += 1
            ended[body["plan"], body["role"], body["index"]] += body["result"]["status"] != "box"
    yield from (f"job {slot} took effect {n} times" for slot, n in ended.items() if n > 1)
    yield from (f"grant {nonce} was used {n} times" for nonce, n in started.items() if n > 1)
    yield from (f"grant {nonce} was settled {n} times" for nonce, n in settled.items() if n > 1)
    yield from (f"the job of grant {nonce} has no end" for nonce in started.keys() - settled.keys())
    for account, cells in accounts.items():
        for resource, cell in cells.items():
            if cell["reserved"]:
                yield f"{cell['reserved']} {resource} stay reserved in account {account}"
            if cell["spent"] > cell["limit"]:
                yield f"account {account} spent more {resource} than its limit"
