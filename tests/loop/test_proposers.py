"""The proposer of a loop, generation by generation: on tables, from ledgers, and in the report."""

import math
from pathlib import Path

import fabricated
import numpy as np
import pytest
from fakes import FakeBox
from reports import read_report, rows_of, text_of
from studies import better, config, mandate, page_of, read_facts
from test_variants import MANY, writing

from evals.metrics import primary
from loop import session
from loop.instruments.measure import measure
from loop.instruments.proposers import measure_proposers
from loop.instruments.run import Run
from loop.settings import compose_settings
from loop.study import open as study_open
from sandbox.ledger import Ledger


def candidates(facts, arm):
    """Return (generation, repeat, plan) of an arm's candidates."""
    return [
        (plan.generation, plan.repeat, plan)
        for plan in facts.plans.values()
        if plan.purpose == "candidate" and plan.arm == arm
    ]


def test_on_a_table_shares_are_the_champions_and_gains_are_what_was_planted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fabricated.write(tmp_path, fabricated.fabricate(noise=0.0, notebook=True))
    cfg = compose_settings(
        [
            "study=tabulated",
            "study.name=t",
            "task.table=fabricated-v1.parquet",
            "study.arms=[random]",
            "study.repeats=3",
            "study.generations=3",
        ]
    )
    mandate(cfg)
    try:
        session.execute(cfg)
    finally:
        study_open.release_locks()
    found = measure_proposers([Run(0, Ledger.at(Path("runs/t")))])
    assert found["known"] == "means of the table" and found["apart"]["word"] == "not measured"
    facts = read_facts(Path("runs/t"))
    kept = []
    for generation, share, gain in found["arms"]["random"]:
        shares, gains = [], []
        for repeat in range(3):
            names = facts.champions["random", repeat]
            recipes = [p.recipe for p in map(facts.plans.get, names) if p.generation <= generation]
            shares.append(recipes[-1].notebook)
            own = [
                fabricated.level_bits(facts.plans[p.parent].recipe)
                - fabricated.level_bits(p.recipe)
                for at, of, p in candidates(facts, "random")
                if (at, of) == (generation, repeat)
            ]
            if own:
                gains.append(np.mean(own))
        assert share["value"] == pytest.approx(np.mean(shares))
        if generation:
            assert gain["value"] == pytest.approx(np.mean(gains), abs=0.01)
        kept = shares
    base = cfg.task.baseline.notebook
    assert found["kept"]["random"]["value"] == pytest.approx(np.mean(kept) / base)


@pytest.fixture
def loop(tmp_path, go):
    """Run arms self and refit on a box that computes nothing; return (settings, folder)."""
    cfg = config(
        tmp_path,
        *MANY,
        "study.arms=[self,refit]",
        "study.repeats=2",
        "study.generations=3",
        "task.baseline.notebook=0.1",
    )
    mandate(cfg)
    assert go(cfg, FakeBox(better, writing))["finished"]
    return cfg, tmp_path / "runs" / "t"


def test_from_a_ledger_gains_are_those_of_screened_proposals_over_their_parents(loop):
    cfg, folder = loop
    facts, found = read_facts(folder), measure([folder])
    means = {"self": {}, "refit": {}}
    for arm, by_place in means.items():
        gains = {}
        for generation, repeat, plan in candidates(facts, arm):
            name = next(n for n, p in facts.plans.items() if p is plan)
            scores = [facts.scores[digest, "predict", 0] for digest in (name, plan.parent)]
            own, parent = (primary(cfg.objective, one) for one in scores)
            gains.setdefault((repeat, generation), []).append(own - parent)
        by_place.update({place: np.mean(values) for place, values in gains.items()})
        per_repeat = [
            np.mean([value for (of, _), value in by_place.items() if of == repeat])
            for repeat in range(2)
        ]
        assert found["arms"][arm]["proposed gain"]["value"] == pytest.approx(np.mean(per_repeat))
        assert found["arms"][arm]["notebook share kept"]["value"] == pytest.approx(1.0)
    apart = [
        np.mean([means["self"][r, g] - means["refit"][r, g] for g in (2, 3)]) for r in range(2)
    ]
    figure = found["between"]["proposed gain, self minus refit"]
    assert figure["value"] == pytest.approx(np.mean(apart)) and figure["n"] == 2


def test_the_report_tells_the_proposer_in_a_sentence_a_figure_and_rows(loop):
    _, folder = loop
    page, found = page_of(folder), read_report(folder)
    text = text_of(found, "unbelieved") + text_of(found, "believed")
    assert "The loop's own proposer: the last champions of arm self give 1 (" in text
    assert "than refit's" in text
    rows = rows_of(found, "proposers")
    assert {row[0] for row in rows} == {"self", "refit"} and 'class="proposers"' in page
    assert all(row[5] is None for row in rows if row[1] == 0)


def test_while_a_study_runs_shares_are_told_and_no_gain_is(tmp_path, go):
    cfg = config(tmp_path, *MANY, "study.arms=[self]", "task.baseline.notebook=0.1")
    mandate(cfg)
    seen = []

    def breaking(execution):
        if execution.role == "propose":
            seen.append(1)
        if len(seen) == 2:
            raise RuntimeError("the power went")
        return writing(execution)

    with pytest.raises(RuntimeError, match="power"):
        go(cfg, FakeBox(better, breaking))
    folder = tmp_path / "runs" / "t"
    found = measure_proposers([Run(0, Ledger.at(folder))])
    shares, gains = zip(*[row[1:] for row in found["arms"]["self"]], strict=True)
    assert all(math.isclose(share["value"], 0.1) for share in shares)
    assert all(gain["value"] is None for gain in gains)
    page_of(folder)
    assert "own proposer" not in text_of(read_report(folder), "unbelieved")


def test_without_a_notebook_there_is_nothing_to_tell(tmp_path, go):
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    folder = tmp_path / "runs" / "t"
    assert measure_proposers([Run(0, Ledger.at(folder))]) == {}
    assert "proposed gain" not in measure([folder])["arms"]["local"]
    page_of(folder)
    assert not rows_of(read_report(folder), "proposers")
