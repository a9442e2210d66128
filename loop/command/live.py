"""The live view of `heirloop run`: a picture or plain lines while it runs, then a table."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.settings.config import Config
from evals.metrics import round_primary
from loop.calibrate.forecast import forecast
from loop.facts.facts import Facts
from loop.study.running import Running
from loop.text import write_number
from loop.verify.run import verify_and_record

EVERY_SECONDS = 10
"""Seconds without a line before a line of progress."""
PACE_JOBS = 8
"""Fewest jobs that tell the pace of a session."""
ROWS = 6
"""Most rows of the closing table; with the answers below it, it fits a screen."""


def describe_minutes(minutes: float) -> str:
    """Return minutes as people say them: "2 minutes", for example."""
    if minutes < 1:
        return "under a minute"
    return f"about {minutes:.0f} minutes" if minutes < 90 else f"about {minutes / 60:.1f} hours"


def _left(root: dict[str, dict[str, int]]) -> float:
    return (root["cpu_us"]["limit"] - root["cpu_us"]["spent"]) / 1e6


def _list_campaigns(config: Config, facts: Facts) -> Iterator[tuple[str, ...]]:
    """Yield the row of each campaign: name, generation, proposals, screened, best, champion."""
    # The loop goes on meanwhile, in other threads: copies do not change under this.
    plans, scores = list(facts.plans.copy().items()), facts.scores.copy()
    best = max if config.objective.direction == "up" else min
    for campaign, champions in sorted(facts.champions.copy().items()):
        measured = [
            (name, plan)
            for name, plan in plans
            if (plan.arm, plan.repeat) == campaign and plan.purpose in ("baseline", "candidate")
        ]
        screened = {
            name: round_primary(config.objective, scores_of_plan)
            for name, _ in measured
            if (scores_of_plan := scores.get((name, "predict", 0)))
        }
        generation = max(plan.generation for _, plan in measured)
        now = [name for name, plan in measured if plan.generation == generation]
        yield (
            f"{campaign[0]} {campaign[1]}",
            f"{generation} of {config.study.generations}",
            f"{len(now)} of {config.study.proposals}",
            str(sum(name in screened for name in now)),
            f"{best(screened.values(), default=0):.2f}",
            f"{screened.get(champions[-1], 0):.2f}",
        )


def _explain_no_gain(campaign: dict[str, Any]) -> str:
    return "no closing look" if campaign["accepted"] else "no change accepted"


class View:
    """The display of a running study, and the table at its end."""

    def __init__(self, running: Running) -> None:
        from rich.console import Console
        from rich.live import Live

        self._running, self._lock, self._started = running, threading.Lock(), time.monotonic()
        self.console = Console(highlight=False)
        self._forecast, self._worst = (forecast(running.config, worst) for worst in (False, True))
        self._began = self._root()["jobs"]["spent"]
        self._quiet, self._said = threading.Event(), time.monotonic()
        self._live = Live(
            get_renderable=self.picture, console=self.console, refresh_per_second=2, transient=True
        )

    def __enter__(self) -> "View":
        name, jobs = self._running.config.study.name, self._forecast.jobs
        if self._running.facts().closed:
            self.say(f"study {name} has ended; nothing is left to run")
        else:
            minutes = describe_minutes(self._forecast.minutes)
            self.say(f"study {name}: about {jobs} jobs, {minutes}{self._which_way('; scores in ')}")
        if self.console.is_terminal:
            self._live.start()
        else:
            threading.Thread(target=self._tell, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._quiet.set()
        self._live.stop()

    def _tell(self) -> None:
        """Print a line of progress wherever nothing was printed for a while."""
        while not self._quiet.wait(1):
            if time.monotonic() - self._said >= EVERY_SECONDS:
                self.say(self.left())

    def left(self) -> str:
        """Return how far the study is, and the time left at the pace of this session."""
        done = self._root()["jobs"]["spent"]
        # A study may need more than is expected, and never more than at worst.
        is_usual = done < self._forecast.jobs
        plan, word = (self._forecast, "about") if is_usual else (self._worst, "at most")
        rest, minutes = max(0, plan.jobs - done), plan.minutes
        if done - self._began >= PACE_JOBS:
            minutes = (time.monotonic() - self._started) / 60 / (done - self._began) * rest
        else:
            minutes *= rest / max(1, plan.jobs)
        return f"{done} of {word} {plan.jobs} jobs, {describe_minutes(minutes)} left"

    def say(self, text: str) -> None:
        """Print a single line: actor, event, jobs, budget left."""
        root, self._said = self._root(), time.monotonic()
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

        config, facts, root = self._running.config, self._running.facts(), self._root()
        title = f"study {config.study.name}{self._which_way(', ')}"
        table = Table(
            "campaign",
            "generation",
            "proposals",
            "screened",
            "best on feedback",
            "champion on feedback",
            title=title,
        )
        for row in _list_campaigns(config, facts):
            table.add_row(*row)
        spent = root["cpu_us"]["limit"] / 1e6 - _left(root)
        bar = ProgressBar(total=root["cpu_us"]["limit"] / 1e6, completed=spent, width=40)
        seconds = int(time.monotonic() - self._started)
        line = (
            f"{_left(root):.0f} CPU-s left of {root['cpu_us']['limit'] / 1e6:.0f}; jobs:"
            f" {root['jobs']['reserved']} now, {self.left()};"
            f" {seconds // 60}:{seconds % 60:02}"
        )
        below = Table.grid(padding=(0, 1))
        below.add_row(bar, Text(line))
        return Group(table, below)

    def _which_way(self, before: str) -> str:
        """Return the metric and its better way behind a text; empty where larger is better."""
        objective = self._running.config.objective
        return f"{before}{objective.scores_text()}" if objective.direction == "down" else ""

    def _root(self) -> dict[str, dict[str, int]]:
        from sandbox.budget import balances

        return dict(self._running.ledger.read(balances)["root"])

    def print_table(self, s: dict[str, Any]) -> None:
        """Print a row for each campaign, where they are few; the report has them all."""
        from rich.table import Table

        if len(s["arms"]) > ROWS:
            return
        title = f"study {s['study']}{self._which_way(', ')}"
        table = Table("arm", "baseline", "champion", "held-out gain (interval)", title=title)
        repeats = len({a["repeat"] for a in s["arms"]})
        for a in s["arms"]:
            look = a["confirm"]
            gain = _explain_no_gain(a)
            if look and look["gain"] is not None:
                ends = [
                    write_number(x, "+.3f") for x in (look["low"], look["high"]) if x is not None
                ]
                gain = (
                    f"{write_number(look['gain'], '+.3f')} ({' to '.join(ends) or 'no interval'})"
                )
            gain += ", computable" if a["computable"] else ""
            table.add_row(
                f"{a['arm']} {a['repeat']}" if repeats > 1 else a["arm"],
                str(a["feedback"]["baseline"]),
                str(a["feedback"]["champion"]),
                gain,
            )
        self.console.print(table)

    def print_end(self, s: dict[str, Any]) -> None:
        """Print that the record holds, who decided, and where the report lies."""
        entries = verify_and_record(self._running.folder)["entries"]
        self.console.print(f"{entries} entries verified; decided by: {', '.join(s['decided_by'])}")
        print(f"report: {Path(self._running.folder) / 'report.html'}")
