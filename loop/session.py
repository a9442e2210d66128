"""`heirloop run`: compose a configuration with Hydra, check it once, run the study to its end or to
what stops it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from configs.arms import START
from configs.errors import BadInput, HeirloopError, Paused, Stopped, VerificationFailed
from configs.settings.config import Config
from evals.claims import warning
from loop.command.live import View
from loop.cycle import Campaign
from loop.export import track
from loop.export.write import mirrored
from loop.facts.facts import Facts, FactsReader
from loop.instruments.gather import Run
from loop.people.send import Caller
from loop.propose.table import proposer
from loop.report import make
from loop.settings import _one_line, check
from loop.study.open import Running, open_study
from loop.verify.run import record
from sandbox import control
from sandbox.call import key
from sandbox.gate import Gate, Halted
from sandbox.ledger import Ledger


def entry(overrides: Sequence[str]) -> None:
    """Run with Hydra's own command line (`-m` sweeps included)."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["heirloop run", *overrides]
    failed: list[HeirloopError] = []

    def task(composed: DictConfig) -> None:
        try:
            if not failed:
                execute(check(composed), make.publish)
        except HeirloopError as error:  # kept from Hydra, which would print a heading of its own
            failed.append(error)

    try:
        hydra.main(version_base="1.3", config_path="../configs", config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise BadInput(_one_line(error)) from None
    if failed:
        raise failed[0]


def execute(
    config: Config, publish: Callable[[Ledger, Facts, Path], dict[str, Any]] = make.summarize
) -> dict[str, Any]:
    """Run a study; return its summary. Raises what stops it; everything recorded stays.

    `publish` writes what people read, at each end and each stop: by default the summary alone,
    since drawing the report costs more than a small study.
    """
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
        result = publish(
            running.ledger, FactsReader(running.ledger).facts(), running.folder
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
