"""Workers: as many threads as jobs may run at a time, each on a core of its own.

A worker takes a campaign and runs it. Where a campaign has independent jobs, such as the screens of
a generation, workers without a campaign help it; so a single arm uses every core. With one worker
everything runs in the order in which it is written. Begin with `Workers.run`.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from configs.errors import Stopped

T = TypeVar("T")
Core = int | None
"""Core of a worker; None: any, on a system that pins nothing."""


class Task(Generic[T]):
    """A piece of work, and how it ended."""

    def __init__(self, act: Callable[[Core], T]) -> None:
        self.act = act
        self.ended = False
        self.results = list[T]()
        "its result, once it ended without an error"
        self.error: BaseException | None = None

    def run(self, core: Core) -> None:
        """Do it; an error is kept for whoever waits."""
        try:
            self.results.append(self.act(core))
        except BaseException as error:
            self.error = error


class Workers:
    """The workers of a study."""

    def __init__(self, count: int) -> None:
        cores = list_cores()
        self._cores = [cores[number % len(cores)] for number in range(count)]
        self._news = threading.Condition()
        self._waiting, self._under_way = deque[Task[Any]](), 0
        "tasks that no worker took yet, and how many were taken and go on"
        self._offered = deque[Task[Any]]()
        "steps of tasks under way, for workers without a task"

    def run(self, acts: Sequence[Callable[[Core], object]]) -> None:
        """Do tasks side by side; raise the first error once all have ended."""
        tasks = [Task(act) for act in acts]
        self._waiting.extend(tasks)
        with ThreadPoolExecutor(len(self._cores)) as pool:
            for core in self._cores:
                pool.submit(self._work, core)
        raise_first(task.error for task in tasks)

    def share(self, acts: Iterable[Callable[[Core], T]], core: Core) -> list[T]:
        """Do the independent steps of a task, with the help of others; return their results.

        A step may begin as soon as `acts` yields it. Steps that have begun end, whatever happens;
        then the first error is raised. With one worker, and outside of `run`, no step begins before
        the one before it has ended.
        """
        if len(self._cores) == 1 or not self._under_way:
            return [act(core) for act in acts]
        own, error = list[Task[T]](), list[BaseException]()
        try:
            for act in acts:
                own.append(Task(act))
                self._offer(own[-1])
                if any(task.error for task in own):
                    break
        except BaseException as raised:
            error.append(raised)
        self._finish(own, core)
        raise_first([*(task.error for task in own), *error])
        return [result for task in own for result in task.results]

    def _work(self, core: Core) -> None:
        """Take tasks, and steps of the tasks of others, until all tasks have ended."""
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._offered or not self._under_way)
                is_task = bool(self._waiting)
                if not self._waiting and not self._offered:
                    return
                task = (self._waiting if is_task else self._offered).popleft()
                self._under_way += is_task
            self._do(task, core, is_task)

    def _do(self, task: Task[Any], core: Core, is_task: bool = False) -> None:
        task.run(core)
        with self._news:
            task.ended = True
            self._under_way -= is_task
            self._news.notify_all()

    def _offer(self, step: Task[Any]) -> None:
        with self._news:
            self._offered.append(step)
            self._news.notify_all()

    def _finish(self, own: Sequence[Task[Any]], core: Core) -> None:
        """Do the steps that nobody took, and wait for the others; after an error none begins."""
        while step := self._take_back(own):
            self._do(step, core)
        with self._news:
            self._news.wait_for(lambda: all(step.ended for step in own))

    def _take_back(self, own: Sequence[Task[Any]]) -> Task[Any] | None:
        """Return a step that nobody took; after an error take back all of them, and return none."""
        with self._news:
            left = [step for step in own if step in self._offered]
            failed = any(step.error for step in own)
            for step in left if failed else left[:1]:
                self._offered.remove(step)
                step.ended = failed
            return None if failed or not left else left[0]


def list_cores() -> Sequence[Core]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return [None] * (os.cpu_count() or 1)


def raise_first(errors: Iterable[BaseException | None]) -> None:
    """Raise the first error; the cause of a stop comes before a mere stop."""
    raised = [error for error in errors if error]
    for error in sorted(raised, key=lambda error: isinstance(error, Stopped)):
        raise error
