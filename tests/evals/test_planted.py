"""Coverage and words on every planted world, and the careless definitions that the same worlds
fool.
"""

import os
from functools import cache

import numpy as np
import pytest

from evals.amplify import gain_ratio
from evals.arms import difference
from evals.claims import WORDS, words
from evals.closure import automation, provenance, self_closure
from evals.law import GENERATIONS, Law, best_of
from evals.loss import sum_promises
from evals.planted import LAWS, WORLDS, world
from evals.proof import prove_world
from evals.retention import retention

STUDIES = int(os.environ.get("HEIRLOOP_STUDIES", 0))
"""Studies of each world; `make prove` draws 1,000. 0: 200 of the worlds in LONG, 60 of others."""
LONG = ("null", "linear", "compounding", "heavy tails", "correlated arms")
SHORT = {
    ("compounding", "ahead of its references"),
    ("human-bottlenecked", "ahead of its references"),
    ("fixed-search", "limited by its limit"),
}
"""Where power is short, and the answer is mostly `cannot tell`."""


@cache
def some(name, studies=100):
    rng = np.random.default_rng(9)
    return [WORLDS[name].draw(rng)[0] for _ in range(studies)]


@pytest.mark.parametrize("name", WORLDS)
def test_intervals_cover_and_words_are_said_where_they_are_true_and_nowhere_else(name):
    studies = STUDIES or (200 if name in LONG else 60)
    rows, called = prove_world(WORLDS[name], studies)
    known = {row.instrument: row for row in rows if row.coverage is not None}
    assert len(known) >= 12
    assert [
        (row.instrument, row.coverage, row.n) for row in known.values() if not row.holds()
    ] == []
    assert [(c.word, c.called) for c in called if not c.true and c.called > 0.05 * studies] == []
    assert [
        (c.word, c.called)
        for c in called
        if c.true and c.called < (0.1 if (name, c.word) in SHORT else 0.9) * studies
    ] == []


def test_the_issue_s_worlds_are_all_here():
    assert {
        "null",
        "linear",
        "compounding",
        "lossy",
        "brittle",
        "undertrained baseline",
        "saturating",
        "hacking",
        "human-bottlenecked",
        "fixed-search",
        "data-only",
        "cron",
        "heavy tails",
        "drifting noise",
        "rare jumps",
        "correlated arms",
    } == set(WORLDS)
    assert all(set(WORDS) & one.words == set(LAWS[name].words) for name, one in WORLDS.items())


def test_too_narrow_an_interval_is_found_out(monkeypatch):
    """The ablation of the coverage test: intervals at 80 % do not pass as 95 %."""
    import evals.intervals as intervals

    monkeypatch.setattr(intervals, "LEVEL", 0.8)
    intervals.reach.cache_clear()
    rows, _ = prove_world(WORLDS["linear"], 200)
    intervals.reach.cache_clear()
    assert sum(not row.holds() for row in rows) >= 8


@pytest.mark.prove
def test_careless_a_falling_gain_calls_plain_random_search_a_slowdown():
    """rho < 1 alone: 89 % and more of the studies of a fixed search."""
    assert np.mean([gain_ratio(s.arms, "self").value < 1 for s in some("fixed-search")]) >= 0.89


@pytest.mark.prove
def test_careless_beating_a_frozen_twin_calls_more_data_amplification():
    """self against frozen alone: a proposer that merely sees more data passes in most studies."""
    assert (
        np.mean([difference(s.arms, "self", "frozen").over(0.0) for s in some("data-only")]) >= 0.47
    )


@pytest.mark.prove
def test_careless_one_minus_the_human_share_calls_a_cron_job_closed():
    vectors = [automation(s.events) for s in some("cron", 20)]
    values = [
        figure.value
        for vector in vectors
        for stage, figure in vector.items()
        if figure.value is not None and stage != "amend"
    ]
    assert values and set(values) == {1.0}


@pytest.mark.prove
def test_careless_kappa_alone_calls_a_fixed_mechanism_closed():
    assert np.mean([self_closure(s.arms).over(0.0) for s in some("data-only")]) > 0.9


@pytest.mark.prove
def test_careless_loss_from_feedback_on_calls_every_honest_loop_lossy():
    lost = [retention(s.held)["loss by selection"].over(0.0) for s in some("linear")]
    assert np.mean(lost) > 0.9


@pytest.mark.prove
def test_careless_loss_far_from_home_calls_a_loop_lossy_for_what_any_change_loses():
    kept = [retention(s.held)["closing to large"].high for s in some("undertrained baseline")]
    assert np.mean(np.array(kept, float) < 1) > 0.99
    assert np.mean([words(s)["lossy"] for s in some("undertrained baseline")]) <= 0.05


@pytest.mark.prove
def test_careless_provenance_alone_is_not_cause():
    """In `linear` lineage weights propose everything, and a proposer of generation 0's recipe gains
    as much.
    """
    studies = some("linear")
    assert all(
        provenance([p.author for p in s.plans if p.fate == "accepted"]).over(0.5) for s in studies
    )
    assert np.mean([words(s)["self-closed"] for s in studies]) <= 0.05


def test_a_proxy_that_is_hacked_shows_in_the_promise_and_not_in_the_verified_gain():
    hacked, honest = ([sum_promises(s.plans) for s in some(name)] for name in ("hacking", "linear"))
    assert np.mean([p["proxy gap"].over(2.0) for p in hacked]) > 0.9 and not any(
        p["proxy gap"].over(0.0) for p in honest
    )
    both = [np.mean([p["verified gain"].value for p in found]) for found in (hacked, honest)]
    assert both[0] == pytest.approx(both[1], abs=0.1)


def test_a_short_study_cannot_tell_and_says_no_word(monkeypatch):
    import evals.draws as draws
    import evals.planted as planted

    for module in (planted, draws):
        monkeypatch.setattr(module, "REPEATS", 9)
    _, called = prove_world(world(Law(name="compounding, nine repeats", mechanism=0.15)), 20)
    assert {c.called for c in called if c.word not in ("sign crossed", "staged")} == {
        0
    }  # those count what happened, as registered


def test_the_means_of_the_law_are_those_that_it_draws():
    drawn = np.mean([s.arms["self"].value[:, -1].mean() for s in some("fixed-search")])
    assert best_of(1) == pytest.approx(0.0, abs=1e-9) and best_of(2) == pytest.approx(
        0.5642, abs=1e-4
    )
    assert (
        drawn == pytest.approx(WORLDS["fixed-search"].truth["gain of self"], abs=0.01)
        and GENERATIONS % 2 == 0
    )
