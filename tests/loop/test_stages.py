"""Seconds by stage: of each candidate in the export, and as lanes of workers in the report."""

import csv
import threading
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from fakes import FakeBox, outcome
from studies import better, config, entries, mandate, page_of

from configs.build import parse, strict_json
from configs.job import Order
from loop import session
from loop.export.verify import verify_export
from loop.export.write import export
from loop.facts.stages import STAGES, read_candidates, read_work
from loop.report.make import read_report

TRAIN_SECONDS = 0.03


class SlowBox(FakeBox):
    """A fake box whose trainings take their time; one of a candidate is lost at first."""

    def __init__(self, baseline):
        super().__init__(better)
        self.baseline, self.lost, self.lock = baseline, 0, threading.Lock()

    def run(self, execution):
        done = super().run(execution)
        if execution.role != "train":
            return done
        time.sleep(TRAIN_SECONDS)
        recipe = parse(Order, strict_json(execution.files["job.json"])).recipe
        with self.lock:
            if recipe != self.baseline and not self.lost:
                self.lost += 1
                return outcome(status="box", detail="the box was lost")
        return replace(done, wall_us=int(TRAIN_SECONDS * 1e6))


@pytest.fixture
def done(tmp_path, go):
    cfg = config(tmp_path, "study.generations=1", "box.parallel=2")
    mandate(cfg)
    box = SlowBox(cfg.task.baseline)
    assert go(cfg, box, session.execute)["finished"] and box.lost == 1
    return cfg, tmp_path / "runs" / "t"


def test_the_stages_of_a_candidate_add_up_and_a_lost_attempt_is_unaccounted(done):
    cfg, _ = done
    book = entries(cfg)
    candidates = read_candidates(book)
    plans = [e.body["digest"] for e in book if e.kind == "plan" and e.body["plan"]["generation"]]
    assert set(candidates) <= set(plans) and len(candidates) == cfg.study.proposals
    for seconds in candidates.values():
        assert set(seconds) == {*STAGES, "unaccounted"}
        assert min(seconds.values()) >= -1e-6
        assert seconds["train"] >= TRAIN_SECONDS - 0.002
    lost = {e.body["plan"] for e in book if e.kind == "job" and e.body["result"]["status"] == "box"}
    for name, seconds in candidates.items():
        if name in lost:
            assert seconds["unaccounted"] >= TRAIN_SECONDS - 0.002
        else:
            assert seconds["unaccounted"] == pytest.approx(0, abs=1e-6)
    assert lost & set(candidates)


def test_an_export_has_the_seconds_of_each_candidate_and_verifies(done, tmp_path):
    cfg, folder = done
    export([folder], tmp_path / "out", parquet=False)
    verify_export(tmp_path / "out")
    with (tmp_path / "out" / "plans.csv").open() as file:
        rows = {row["plan"]: row for row in csv.DictReader(file)}
    told = read_candidates(entries(cfg))
    assert told and set(told) <= set(rows)
    for name, row in rows.items():
        cells = {stage: row[f"{stage}_seconds"] for stage in (*STAGES, "unaccounted")}
        if name in told:
            assert {k: float(v) for k, v in cells.items()} == pytest.approx(told[name], abs=6e-4)
        else:
            assert set(cells.values()) == {""}


def test_the_report_draws_the_workers_and_tells_the_shares(done):
    cfg, folder = done
    work = read_work(entries(cfg))
    page, found = page_of(folder), read_report(folder)
    (lanes,) = [t for s in found.sections for t in s.tables if t.name == "lanes"]
    assert sorted({row[1] for row in lanes.rows}) == [1, 2]
    trained = sum(row[2] == "train" for row in lanes.rows)
    assert trained == len(work) == sum(e.kind == "score" for e in entries(cfg))
    for worker in (1, 2):
        spans = [row[3:5] for row in lanes.rows if row[1] == worker]
        assert all(one[1] <= other[0] + 0.005 for one, other in pairwise(spans))
    assert 'class="lanes"' in page and ">worker 2<" in page and ", unaccounted " in page
