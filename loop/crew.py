"""Campaigns side by side: in threads where a box computes, in processes where the loop itself does.

A box of recorded or simulated trainings answers in the loop's own process, and Python lets one
thread compute at a time. So such a study forks `box.parallel` - 1 further processes. Each opens the
ledger for itself; a transaction excludes the others. All campaigns of a repeat run in one process.
Begin with `hire`.
"""

import ctypes
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Literal

from configs.errors import HeirloopError, Interrupted, Paused, Stopped
from loop.campaign import Campaign
from loop.course import finish_campaign, run_campaign, run_start_trial
from loop.study.open import reopen
from loop.study.running import Running
from loop.study.simulated import simulated

Stage = Literal["start trial", "campaign", "skill"]
_STAGES: dict[Stage, Callable[[Campaign, int], None]] = {
    "start trial": run_start_trial,
    "campaign": lambda campaign, _: run_campaign(campaign),
    "skill": lambda campaign, _: finish_campaign(campaign),
}
_PR_SET_PDEATHSIG = 1
_PATIENCE_SECONDS = 10
"""Longest wait for the end of a process that has nothing left to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """A part of a study's work: a stage of a campaign."""

    stage: Stage
    arm: str
    repeat: int
    number: int = 0
    "number of a start trial"


class Crew:
    """The workers of a study: threads, or this process and forked ones."""

    def __init__(self, running: Running, forked: Sequence["Forked"]) -> None:
        self._running, self._forked = running, forked
        self._cores = _list_cores(running)
        self._threads = not simulated(running.config)

    def run(self, tasks: Sequence[Task]) -> None:
        """Do tasks side by side; raise the first error when all have ended.

        An error stops the others; a paused arm does not.
        """
        errors = self._one_by_one(tasks) if self._threads else self._by_repeat(tasks)
        # the cause of a stop comes before a mere stop
        for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
            raise error

    def stop(self) -> None:
        """Let every worker end soon."""
        self._running.stopped = True
        for forked in self._forked:
            forked.stop()

    def _one_by_one(self, tasks: Sequence[Task]) -> list[BaseException]:
        """Do tasks in threads, a core each."""
        free, lock = list(self._cores), threading.Lock()

        def work(task: Task) -> list[BaseException]:
            with lock:
                core = free.pop()
            try:
                return self._watch(do(self._running, core, [task]))
            finally:
                with lock:
                    free.append(core)

        with ThreadPoolExecutor(len(free)) as pool:
            return [error for errors in pool.map(work, tasks) for error in errors]

    def _by_repeat(self, tasks: Sequence[Task]) -> list[BaseException]:
        """Do tasks in processes; a repeat stays in its own, which alone holds its items."""
        workers = [partial(do, self._running, self._cores[0]), *(f.do for f in self._forked)]
        shares = [
            [task for task in tasks if task.repeat % len(workers) == number]
            for number in range(len(workers))
        ]
        with ThreadPoolExecutor(len(workers)) as pool:
            work = pool.map(lambda worker, share: self._watch(worker(share)), workers, shares)
            return [error for errors in work for error in errors]

    def _watch(self, errors: list[BaseException]) -> list[BaseException]:
        """Stop all workers after an error other than a pause; return the errors."""
        if not all(isinstance(error, Paused) for error in errors):
            self.stop()
        return errors


def _list_cores(running: Running) -> list[int | None]:
    """Return the core of each worker."""
    cores: list[int | None] = [None]
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))  # type: ignore[assignment]
    return [cores[number % len(cores)] for number in range(running.config.box.parallel)]


@contextmanager
def hire(running: Running) -> Iterator[Crew]:
    """Yield the crew of a study. Call it before the loop starts threads, since it may fork."""
    forked: list[Forked] = []
    if simulated(running.config):
        cores = _list_cores(running)[1 : running.config.study.repeats]
        forked += [Forked(running, core) for core in cores]
    try:
        yield Crew(running, forked)
    finally:
        for each in forked:
            each.dismiss()


def do(running: Running, core: int | None, tasks: Sequence[Task]) -> list[BaseException]:
    """Do tasks one after the other, to the first error that is more than a pause; return errors."""
    errors: list[BaseException] = []
    for task in tasks:
        campaign = Campaign(running, task.arm, task.repeat, core, running.say)
        try:
            _STAGES[task.stage](campaign, task.number)
        except Paused as pause:
            errors.append(pause)
        except BaseException as error:
            return [*errors, error]
    return errors


class Forked:
    """A forked process that does tasks of a study."""

    def __init__(self, running: Running, core: int | None) -> None:
        self._running = running
        self._pipe, theirs = (context := get_context("fork")).Pipe()
        self._process = context.Process(
            target=_serve, args=(running, core, theirs, self._pipe, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()

    def do(self, tasks: Sequence[Task]) -> list[BaseException]:
        """Do tasks in the process, and say what it says; return its errors."""
        try:
            self._pipe.send(tasks)
            while isinstance(answer := self._pipe.recv(), str):
                self._running.say(answer)
            return list(answer)
        except (EOFError, OSError):
            self._process.join(_PATIENCE_SECONDS)
            return [
                Interrupted(
                    "a process of the loop ended before its work"
                    f" (exit code {self._process.exitcode})"
                )
            ]

    def stop(self) -> None:
        """Let the process end its tasks soon."""
        self._process.terminate()

    def dismiss(self) -> None:
        """End the process, which has nothing left to do."""
        with suppress(OSError):
            self._pipe.send(None)
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(
    running: Running, core: int | None, pipe: Connection, theirs: Connection, parent: int
) -> None:
    """Do tasks from a pipe until None comes; say lines and return errors through it."""
    theirs.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which tells
    _end_with(parent)
    try:
        own = reopen(running)
    except BaseException as error:
        pipe.recv()
        pipe.send([_portable(error)])
        return
    own.say = pipe.send

    def stop(*_: object) -> None:
        own.stopped = True
        own.sandbox.box.stop()

    signal.signal(signal.SIGTERM, stop)
    try:
        while (tasks := pipe.recv()) is not None:
            pipe.send([_portable(error) for error in do(own, core, tasks)])
    finally:
        own.sandbox.box.close()
        own.ledger.close()


def _end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _portable(error: BaseException) -> BaseException:
    """Return an error that a pipe can carry; of a fault of ours the traceback goes with it."""
    if not isinstance(error, HeirloopError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
