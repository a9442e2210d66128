"""`heirloop run`: compose a configuration with Hydra, check it once, run the study to its end or to
what stops it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.build import need, parse
from configs.errors import BadInput, HeirloopError, Paused, Stopped, VerificationFailed
from configs.study import START, Config
from evals.claims import warning
from evals.judge import least, spend
from evals.metrics import rounded
from loop import own, planted, track
from loop.archive import Archive
from loop.cycle import Campaign
from loop.export import mirrored
from loop.plan import ROOT
from loop.propose import proposer, variant
from loop.records import Run
from loop.report import make
from loop.study import Running, open_study, read_config
from loop.verify import checked, record
from sandbox import control
from sandbox.call import key
from sandbox.gate import Gate, Halted
from sandbox.ledger import Ledger
from sandbox.run import replay as replay_job
from sandbox.send import Caller

LEAST = 16
"""Trials that a notebook starts with at least; from fewer, weights that propose collapse onto one
corner (docs/proposers.md).
"""


def check(composed: DictConfig) -> Config:
    """Return composed values as the typed configuration; raise BadInput naming the field that is
    wrong.
    """
    try:
        raw = own.named(OmegaConf.to_object(composed))
        if raw["task"].get("world", "") is None:  # YAML reads the name of world `null` as nothing
            raw["task"]["world"] = "null"
        config = parse(Config, raw)
    except OmegaConfBaseException as error:
        raise BadInput(str(error).splitlines()[0]) from None
    for name in config.arms():
        if variant(name).proposer == "notebook" and not (
            config.task.notebook and config.study.start_trials >= LEAST
        ):
            raise BadInput(
                f"arm {name} proposes from a notebook; it needs task.notebook=true and"
                f" study.start_trials of at least {LEAST}"
            )
        wanted = proposer(name).needs
        if wanted and not any(getattr(config.proposer, one) for one in wanted):
            raise BadInput(
                f"arm {name} needs a setting; give"
                f" {' or '.join(f'proposer.{one}' for one in wanted)}"
            )
    planted.check(config)
    _outside(config)
    rule, most, level = (
        config.objective.acceptance,
        config.study.confirm_replicates,
        spend(config.objective.alpha, config.confirmations(), ()),
    )
    if least(config.objective, level, most) is None:
        raise BadInput(
            f"study.confirm_replicates is {most}; {rule} at level {level:.2g}"
            f" ({config.objective.alpha:g} over {config.confirmations()} confirmations) cannot"
            " accept within so few pairs, `heirloop power` tells how many it needs"
        )
    return config


def _outside(config: Config) -> None:
    """Refuse an arm that asks an outside model without one, or without a budget for one
    question.
    """
    if not any(proposer(arm).where == "outside" for arm in config.arms()):
        return
    model = config.proposer.llm
    need(model is not None, "proposer.llm", None, "an endpoint; proposer=llm gives one")
    assert model is not None
    least = model.worst(model.prompt_bytes)
    for name in ("tokens", "money_micros"):
        held, wanted = getattr(config.budget, name), getattr(least, name)
        need(
            held >= wanted,
            f"budget.{name}",
            held,
            f"at least {wanted}, the worst case of one question",
        )


def composed(overrides: Sequence[str]) -> Config:
    """Compose a configuration from overrides, without running anything."""
    try:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            return check(compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise BadInput(_one_line(error)) from None


def entry(overrides: Sequence[str]) -> None:
    """Run with Hydra's own command line (`-m` sweeps included)."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["heirloop run", *overrides]
    failed: list[HeirloopError] = []

    def task(composed: DictConfig) -> None:
        try:
            if not failed:
                execute(check(composed))
        except HeirloopError as error:  # kept from Hydra, which would print a heading of its own
            failed.append(error)

    try:
        hydra.main(version_base="1.3", config_path="../configs", config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise BadInput(_one_line(error)) from None
    if failed:
        raise failed[0]


def execute(config: Config) -> dict[str, Any]:
    """Run a study; return its summary. Raises what stops it; everything recorded stays."""
    if config.proposer.llm and any(proposer(arm).where == "outside" for arm in config.arms()):
        key(
            config.proposer.llm
            # before anything is written: a key that is missing, or that stands where its variable's
            # name should
        )
    running = open_study(config, lean=True)
    if (running.folder / "STOP").exists() or running.gate.refresh().halt == "stop":
        running.sandbox.box.close()
        raise Stopped(f"the study is stopped; `heirloop resume {running.folder}` lets it go on")
    mirror = track.make(config.tracker, config.study.name, str(running.folder))
    started = time.monotonic()
    _on_signals(running)
    try:
        with (
            View(running) as view,
            _watched(running),
            Caller(Gate(running.ledger, running.sandbox.store), running.folder).calling(),
        ):
            campaigns = [
                Campaign(running, arm, repeat, None, view.say)
                for repeat in range(config.study.repeats)
                for arm in config.arms()
            ]
            _side_by_side(
                running,
                [
                    Campaign(running, START, i, None, view.say)
                    for i in range(config.study.start_trials)
                ],
            )
            _side_by_side(running, campaigns)
        _heed(running)
        if not running.archive.facts().closed:
            running.ledger.append("end", {"reason": "every campaign ended"})
    except HeirloopError as error:
        if isinstance(error, VerificationFailed):
            record(running.folder, str(error))
        running.ledger.append("pause", {"reason": str(error)[:300], "exit_code": error.exit_code})
        raise
    finally:
        running.sandbox.box.close()
        running.ledger.append("session", {"wall_seconds": round(time.monotonic() - started, 3)})
        running.checkpoint()
        result = make.publish(
            running.ledger, Archive(running.ledger).facts(), running.folder
        )  # whole facts: the loop's own are lean
        for row in result["generations"]:
            told = [p["shown"] for p in row["plans"] if p["shown"] is not None]
            if told:
                best = max(told) if config.objective.direction == "up" else min(told)
                mirror.log({"generation": row["index"], f"{row['arm']}/best feedback": best})
        if running.archive.facts().closed:
            mirror.tables(lambda: mirrored(running.ledger))
        mirror.close()
    view.table(result)
    return result


def _heed(running: Running) -> None:
    """Read the warning sign once, when every campaign has ended; crossed, pause the study and raise
    Halted until people resume it.
    """
    sign, known = (
        running.config.study.warning,
        [e for e in running.ledger.entries() if e.kind == "warning"],
    )
    if sign is None or known:
        return
    run = Run(0, running.ledger)
    told = warning(sign, tuple(run.skills()), tuple(run.events("self")))
    running.ledger.append("warning", told)
    if told["sign"] == "crossed":
        control.pause(
            running.gate,
            "warning sign",
            "the warning sign is crossed: the loop improves its own improving",
            "the warning sign is crossed",
        )
        running.wait(
            Halted("the warning sign is crossed; `heirloop resume` lets the study go on", "pause")
        )


def replay(folder: Path, prefix: str) -> dict[str, Any]:
    """Retrain a plan's first replicate from its bundle and compare the weights' bytes; raises
    VerificationFailed.
    """
    config = read_config(Ledger.file(folder / "ledger.sqlite"))
    running = open_study(config_at(config, folder))
    try:
        starts = [
            e
            for e in running.ledger.entries()
            if e.kind == "start" and e.body["job"]["role"] == "train"
        ]
        mine = [e for e in starts if e.body["job"]["plan"].startswith(prefix)]
        if len({e.body["job"]["plan"] for e in mine}) != 1:
            raise BadInput(
                f"PLAN is {prefix!r}; it should begin the digest of exactly one trained plan"
                " (`heirloop plans RUN`)"
            )
        job = mine[0].body["job"]
        recorded = running.archive.facts().results[job["plan"], "train", job["index"]][0]
        again = replay_job(running.sandbox, mine[0])
    finally:
        running.sandbox.box.close()
        running.checkpoint()
    before, after = (r.outputs.get("weights.safetensors", "") for r in (recorded, again))
    if before != after or not after:
        raise VerificationFailed(
            f"the weights differ: recorded {before[:12] or 'none'}, replayed"
            f" {after[:12] or again.detail}; same bytes need the same CPU type and torch build"
        )
    return {
        "plan": job["plan"],
        "index": job["index"],
        "weights": after,
        "same": True,
        "cpu_seconds": again.charged.cpu_us / 1e6,
    }


def config_at(config: Config, folder: Path) -> Config:
    """Return a recorded configuration for the folder where its run lies now."""
    return replace(config, runs=str(folder.resolve().parent))


def _side_by_side(running: Running, campaigns: list[Campaign]) -> None:
    """Run campaigns in as many threads as jobs may run at a time, a core each; the first error
    stops the others, a paused arm does not.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    free = [cores[i % len(cores)] for i in range(running.config.box.parallel)]
    lock = threading.Lock()

    def one(campaign: Campaign) -> None:
        with lock:
            core = free.pop()
        try:
            replace(campaign, cpu=core).run()
        except Paused:
            raise
        except BaseException:
            running.stopped = True
            raise
        finally:
            with lock:
                free.append(core)

    with ThreadPoolExecutor(running.config.box.parallel) as pool:
        errors = [e for f in [pool.submit(one, c) for c in campaigns] if (e := f.exception())]
    for error in sorted(errors, key=lambda e: isinstance(e, Stopped)):
        raise error


def _on_signals(running: Running) -> None:
    """Ctrl-C ends the process and the same command goes on; SIGTERM is an order to stop, which
    people must lift.
    """

    def end(number: int, _frame: object) -> None:
        running.ordered = "SIGTERM" if number == signal.SIGTERM else running.ordered
        running.stopped = True
        running.sandbox.box.stop()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)


@contextmanager
def _watched(running: Running) -> Iterator[None]:
    """Obey orders from outside while the loop is busy: a file named STOP, `heirloop stop`,
    SIGTERM.
    """
    done = threading.Event()

    def watch() -> None:
        gate, file = running.gate, running.folder / "STOP"
        while not done.wait(0.1):
            if file.exists() and gate.refresh().halt != "stop":
                control.order(
                    running.ledger, "stop", "file STOP", file.read_text(errors="replace")[:2000]
                )
            if gate.refresh().halt == "stop" and not running.stopped:
                running.stopped = True
                running.sandbox.box.stop()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if running.ordered:
            control.order(running.ledger, "stop", f"signal {running.ordered}", "")


def _left(root: dict[str, dict[str, int]]) -> float:
    return (root["cpu_us"]["limit"] - root["cpu_us"]["spent"]) / 1e6


def _one_line(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text[:400]


class View:
    """What a person sees while it runs: a live picture on a terminal, plain lines elsewhere; a
    table at the end.
    """

    def __init__(self, running: Running) -> None:
        from rich.console import Console
        from rich.live import Live

        self._running, self._lock, self._started = running, threading.Lock(), time.monotonic()
        self.console = Console(highlight=False)
        self._live = Live(
            get_renderable=self.picture, console=self.console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> "View":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Print one line: who, what, jobs, budget left."""
        root = self._root()
        with self._lock:
            self.console.print(
                f"{text}  ({root['jobs']['spent']} jobs, {_left(root):.0f} CPU-s left)",
                markup=False,
                soft_wrap=True,
            )

    def picture(self) -> Any:
        """Return the live picture: a line per campaign, then jobs, budget and time."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        config, facts, root = self._running.config, self._running.archive.facts(), self._root()
        title = f"study {config.study.name}"
        table = Table(
            "campaign",
            "generation",
            "proposals",
            "screened",
            "best on feedback",
            "champion on feedback",
            title=title,
        )
        plans, scores, best = (
            list(facts.plans.items()),
            dict(facts.scores),
            max if config.objective.direction == "up" else min,
        )
        for campaign, champions in sorted(facts.champions.copy().items()):
            mine = [
                (name, p)
                for name, p in plans
                if (p.arm, p.repeat) == campaign and p.purpose in ("baseline", "candidate")
            ]
            found = {
                name: rounded(config.objective, s)
                for name, _ in mine
                if (s := scores.get((name, "predict", 0)))
            }
            generation = max(p.generation for _, p in mine)
            now = [name for name, p in mine if p.generation == generation]
            table.add_row(
                f"{campaign[0]} {campaign[1]}",
                f"{generation} of {config.study.generations}",
                f"{len(now)} of {config.study.proposals}",
                str(sum(name in found for name in now)),
                f"{best(found.values(), default=0):.2f}",
                f"{found.get(champions[-1], 0):.2f}",
            )
        spent = root["cpu_us"]["limit"] / 1e6 - _left(root)
        bar = ProgressBar(total=root["cpu_us"]["limit"] / 1e6, completed=spent, width=40)
        seconds = int(time.monotonic() - self._started)
        line = (
            f"{_left(root):.0f} CPU-s left of {root['cpu_us']['limit'] / 1e6:.0f}; jobs:"
            f" {root['jobs']['spent']} done, {root['jobs']['reserved']} now;"
            f" {seconds // 60}:{seconds % 60:02}"
        )
        below = Table.grid(padding=(0, 1))
        below.add_row(bar, Text(line))
        return Group(table, below)

    def _root(self) -> dict[str, dict[str, int]]:
        from sandbox.budget import balances

        return dict(self._running.ledger.read(balances)["root"])

    def table(self, s: dict[str, Any]) -> None:
        """Print the closing table and where the report lies."""
        from rich.table import Table

        table = Table(
            "arm", "baseline", "champion", "held-out gain (interval)", title=f"study {s['study']}"
        )
        for a in s["arms"]:
            gate = a["gate"]
            gain = (
                f"{gate['gain']:+.3f} ({gate['low']:+.3f} to {gate['high']:+.3f})"
                if gate and gate["gain"] is not None
                else "no change accepted"
            )
            gain += ", computable" if a["computable"] else ""
            table.add_row(
                a["arm"], str(a["feedback"]["baseline"]), str(a["feedback"]["champion"]), gain
            )
        console, root = self.console, s["accounts"]["root"]
        console.print(table)
        console.print(
            f"spent {root['cpu_us']['spent'] / 1e6:.0f} of {root['cpu_us']['limit'] / 1e6:.0f}"
            f" CPU-s, {root['jobs']['spent']} of {root['jobs']['limit']} jobs;"
            f" {checked(self._running.folder)['entries']} entries verified; decided by:"
            f" {', '.join(s['decided_by'])}"
        )
        print(f"report: {Path(self._running.folder) / 'report.html'}")
