"""Workers: a single arm uses every core, errors come in order, one worker changes no order."""

import os
import threading

import pytest
from fakes import FakeBox
from studies import champions, config, execute, mandate

from configs.build import parse, strict_json
from configs.errors import BadInput, Interrupted, NeedsHuman
from configs.job import Order
from loop.settings import compose_settings
from loop.study.workers import Workers

PATIENCE_SECONDS = 5
"""Longest wait for company; only a job that should be alone, and a failing test, wait so long."""


def test_one_worker_takes_each_step_before_the_next_is_made():
    seen = []

    def steps():
        for number in range(3):
            seen.append(f"made {number}")
            yield lambda core, number=number: seen.append(f"took {number}")

    workers = Workers(1)
    workers.run([lambda core: workers.share(steps(), core)])
    assert seen == [f"{what} {number}" for number in range(3) for what in ("made", "took")]


def test_steps_run_at_once_and_their_results_keep_their_order():
    workers, met, results = Workers(4), threading.Barrier(4, timeout=PATIENCE_SECONDS), []

    def step(number):
        return lambda core: (met.wait() >= 0, number)[1]

    workers.run([lambda core: results.extend(workers.share(map(step, range(4)), core))])
    assert results == [0, 1, 2, 3]


def test_workers_without_a_task_help_and_each_has_a_core_of_its_own():
    workers, met, cores = Workers(2), threading.Barrier(2, timeout=PATIENCE_SECONDS), []

    def step(core):
        met.wait()
        cores.append(core)

    workers.run([lambda core: workers.share([step, step], core), lambda core: None])
    usable = sorted(os.sched_getaffinity(0))
    assert sorted(cores) == sorted(usable[number % len(usable)] for number in range(2))


@pytest.mark.parametrize("count", [1, 3])
def test_the_first_error_is_raised_once_all_that_began_has_ended(count):
    workers, ended = Workers(count), []

    def fail(error):
        def step(core):
            ended.append(type(error))
            raise error

        return step

    steps = [fail(Interrupted("stopped")), fail(BadInput("wrong")), fail(ValueError())]
    with pytest.raises((Interrupted, BadInput)) as raised:
        workers.run([lambda core: workers.share(iter(steps), core)])
    assert ended[0] is Interrupted and (BadInput not in ended or raised.type is BadInput)


def test_a_step_that_began_ends_though_the_next_cannot_be_made():
    """A plan that waits for people takes nothing from the plans before it."""
    workers, ended = Workers(2), []

    def steps():
        yield lambda core: ended.append("screened")
        raise NeedsHuman("the next plan waits")

    with pytest.raises(NeedsHuman):
        workers.run([lambda core: workers.share(steps(), core)])
    assert ended == ["screened"]


def test_nothing_is_shared_outside_of_a_run():
    assert Workers(8).share([lambda core: core, lambda core: core], 3) == [3, 3]


class Meeting(FakeBox):
    """A fake box in which trainings meet in twos, and which notes each that met nobody."""

    def __init__(self, baseline):
        super().__init__(lambda order: 0.1 if order.recipe == baseline else 0.95)
        self.news, self.waiting, self.alone, self.trained = threading.Condition(), [], [], 0

    def run(self, execution):
        if execution.role == "train":
            self._meet(parse(Order, strict_json(execution.files["job.json"])))
        return super().run(execution)

    def _meet(self, order):
        with self.news:
            self.trained += 1
            if self.waiting:
                self.waiting.pop()
                self.news.notify_all()
                return
            self.waiting.append(order)
            if not self.news.wait_for(lambda: order not in self.waiting, PATIENCE_SECONDS):
                self.waiting.remove(order)
                self.alone.append(order.recipe)


def test_the_screens_and_the_pairs_of_a_single_arm_run_on_every_core(tmp_path, go):
    """Two workers: nothing but the baseline trains alone."""
    small = ["study.generations=1", "study.proposals=2", "study.ablate=1", "box.parallel=2"]
    cfg = config(tmp_path, *small)
    mandate(cfg)
    box = Meeting(cfg.task.baseline)
    assert go(cfg, box, execute)["finished"]
    assert len(champions(cfg)) == 2 and box.alone == [cfg.task.baseline]
    assert box.trained >= 1 + 2 + 2 * 4 + 2 * 4 + 2 * 4  # screens, confirming, closing, taken back


def test_a_composition_fills_in_the_cores():
    cores = len(os.sched_getaffinity(0))
    assert compose_settings(["box=namespace"]).box.parallel == cores
    assert compose_settings(["box=namespace", "box.parallel=3"]).box.parallel == 3
    with pytest.raises(BadInput, match=r"box\.parallel is -1; it should be 0 \(the cores\)"):
        compose_settings(["box.parallel=-1"])
