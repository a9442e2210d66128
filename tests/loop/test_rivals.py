"""Rivals: `tpe` learns from what is told and repeats nothing; `hostile` tries the gates in a whole
study, and each attack is a recorded outcome.
"""

import random
import re
from collections import Counter
from contextlib import suppress
from itertools import product

import pytest
from fakes import FakeBox
from scipy.stats import chisquare
from studies import config, entries, mandate

from configs.build import parse, plain, strict_json
from configs.errors import BadInput
from configs.history import History, Trial
from configs.recipe import GRID, Recipe, grid
from configs.records import Proposal
from configs.settings.proposer import Proposer
from evals.attacks.table import ATTACKS
from loop.plan import apply_proposal, source
from loop.propose import hostile, rivals
from loop.propose.limit import draw_neighbour, list_different
from loop.propose.view import ProposerView, draw
from loop.verify.run import verify
from sandbox.box.namespace import NamespaceBox
from sandbox.store import Store
from tests.conftest import need_box


def view(trials=(), seed=1, champion=Recipe(), limit=0, **settings) -> ProposerView:  # noqa: B008
    history = History(
        champion=champion,
        champion_source="s0",
        champion_score=None,
        trials=tuple(trials),
        grid=grid(False),
        count=1,
        most_changes=limit,
    )
    files = {"s0": source()["models/train.py"].decode()}
    return ProposerView(
        history=history,
        sources=files,
        settings=Proposer(name="x", **settings),
        rng=random.Random(seed),
        generation=1,
        index=0,
    )


def recipe_of(text: str) -> Recipe:
    return apply_proposal(Recipe(), source(), parse(Proposal, strict_json(text))).recipe


def past(seed: int, score, count=40, outcome="scored"):
    """Trials of uniform draws, with the score that `score` gives a recipe."""
    rng = random.Random(seed)
    recipes = [draw(rng, Recipe(), grid(False)) for _ in range(count)]
    return [
        Trial(
            recipe=one,
            outcome=outcome,
            score=score(one) if outcome == "scored" else None,
            source="s0",
        )
        for one in recipes
    ]


def good(recipe: Recipe) -> float:
    """What is good here: a high learning rate, the loss on the answer, little dropout."""
    return round(
        GRID["learning_rate"].index(recipe.learning_rate) / 7
        + (recipe.loss == "answer")
        + (recipe.dropout < 0.1),
        2,
    )


def mean_good(write, trials) -> float:
    return sum(good(recipe_of(write(view(trials, seed=s)))) for s in range(30)) / 30


def test_tpe_learns_from_scores_where_random_does_not():
    trials = past(1, good)
    assert mean_good(rivals.propose_tpe, trials) > mean_good(rivals.propose_random, trials) + 0.5
    blind = past(1, lambda recipe: 0.5)
    assert mean_good(rivals.propose_tpe, blind) < mean_good(rivals.propose_tpe, trials) - 0.4


def test_tpe_learns_from_what_the_ladder_tells_alone():
    """Two scores are told, the others are `not better`: what is told is better than they are."""
    best = sorted(past(2, good), key=lambda t: t.score)
    told = [Trial(recipe=t.recipe, outcome="not better", source="s0") for t in best[:-6]] + best[
        -6:
    ]
    assert mean_good(rivals.propose_tpe, told) > mean_good(rivals.propose_random, told) + 0.3


def test_tpe_is_a_function_of_the_history_and_the_seed_and_repeats_no_trial():
    trials = past(3, good)
    assert rivals.propose_tpe(view(trials)) == rivals.propose_tpe(view(trials))
    tried = {t.recipe for t in trials}
    for seed in range(20):
        found = recipe_of(rivals.propose_tpe(view(trials, seed=seed)))
        assert found not in tried
        trials.append(Trial(recipe=found, outcome="waiting", source="s0"))
        tried.add(found)


@pytest.mark.parametrize(
    "trials",
    [
        [],
        past(1, good, 1),
        past(1, good, 20, "failed"),
        past(1, good, 20, "waiting"),
        past(1, good, 20, "not better"),
        [
            Trial(
                recipe=Recipe(batch_size=512, learning_rate=0.00012, weight_decay=0.9),
                outcome="scored",
                score=0.1,
                source="s0",
            )
        ]
        * 12,
    ],
    ids=["no trial", "one", "all failed", "all waiting", "none told", "off the grid"],
)
def test_tpe_proposes_from_any_history(trials):
    assert recipe_of(rivals.propose_tpe(view(trials))) != Recipe()


SMALL = {"width": (36, 48, 64), "heads": (1, 4, 8), "depth": (1, 2), "dropout": (0.0, 0.1, 0.2)}
"""A grid on which not all recipes fit together: 8 heads do not divide width 36."""


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_a_neighbour_is_drawn_uniformly_from_all_legal_ones(limit):
    rng, fitting = random.Random(5), set()
    for values in product(*SMALL.values()):
        with suppress(BadInput):
            fitting.add(Recipe(**dict(zip(SMALL, values, strict=True))))
    assert len(fitting) == 54 - 6
    legal = {one for one in fitting if 1 <= len(list_different(Recipe(), one)) <= limit}
    draws = Counter(draw_neighbour(rng, Recipe(), SMALL, limit) for _ in range(60 * len(legal)))
    assert set(draws) == legal
    assert chisquare(list(draws.values())).pvalue > 0.01


def test_a_grid_without_a_legal_neighbour_gives_a_sentence():
    with pytest.raises(BadInput, match="no recipe of the grid lies within 2 changes"):
        draw_neighbour(random.Random(1), Recipe(), {"depth": (2,), "notebook": ()}, 2)


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("name", ["propose_random", "propose_local", "propose_tpe"])
def test_every_rival_keeps_to_the_change_limit(name, limit):
    champion = Recipe(learning_rate=0.00042, width=48, heads=8)  # off the grid
    reached = set()
    for seed in range(20):
        given = view(past(1, good), seed, champion, limit)
        knobs = strict_json(getattr(rivals, name)(given))["knobs"]
        assert Recipe(**{**plain(champion), **knobs}) and set(knobs) <= set(GRID)
        reached.add(len(knobs))
    assert max(reached) == limit and min(reached) >= 1


FINE = {
    "A09 terminal escapes",
    "A10 bidi and zero width",
    "A10 markup",
    "A11 padding",
    "A15 a word to the reviewer",
    "U03 a forged line",
    "repeat",
    "program",
    "program, again",
    "A16 another class",
}
"""Attacks that are well-formed: they must be stopped, or shown for what they are, later."""


@pytest.mark.parametrize("name", sorted(hostile.KINDS))
def test_every_attack_text_is_refused_as_text_or_is_a_wellformed_plan(name):
    given = view(past(1, good, 3), champion=Recipe())
    try:
        change = apply_proposal(
            Recipe(), source(), parse(Proposal, strict_json(hostile.KINDS[name](given)))
        )
    except BadInput as error:
        assert name not in FINE and len(str(error)) < 700
        return
    assert name in FINE
    assert change.change_class == {
        "program": "patch",
        "program, again": "patch",
        "A16 another class": "structural",
    }.get(name, "recipe")
    if change.change_class == "patch":
        assert "def attempt(name, act)" in change.files["models/train.py"].decode()


def test_the_share_of_attacks_is_the_set_one():
    def share(of):
        texts = [hostile.propose_hostile(view(seed=s, hostile_share=of)) for s in range(300)]
        return sum('"a step from the champion\'s recipe"' not in text for text in texts) / 300

    assert share(0.0) == 0.0 and share(1.0) == 1.0 and 0.2 < share(0.3) < 0.4


def test_a_hostile_arm_ends_its_study_with_every_attack_recorded(tmp_path, go):
    cfg = config(
        tmp_path,
        "proposer=hostile",
        "study.arms=[hostile]",
        "study.generations=6",
        "study.proposals=8",
        "proposer.hostile_share=0.9",
        "budget.jobs=2000",
        "gates.unattended.jobs=2000",
        "reviewer=scripted",
        "reviewer.policy=deny-all",
    )
    mandate(cfg)
    result = go(cfg, FakeBox(lambda order: 0.1))
    facts = entries(cfg)
    invalid = [e.body for e in facts if e.kind == "invalid"]
    plans = {
        e.body["digest"]: e.body["plan"]
        for e in facts
        if e.kind == "plan" and e.body["plan"]["purpose"] == "candidate"
    }
    kinds = Counter(p["change_class"] for p in plans.values())
    assert (
        result["finished"]
        and len(invalid) + len(plans) == 48
        and len(invalid) > 15
        and kinds["patch"]
        and kinds["recipe"]
    )
    granted = {e.body["grant"]["plan"] for e in facts if e.kind == "start"}
    assert not [
        n for n in granted if plans.get(n, {}).get("change_class") in ("patch", "structural")
    ]  # the caps cover recipes, people deny
    assert all(
        one["proposal"] or "0 bytes" in one["reason"] or "not strict JSON" in one["reason"]
        for one in invalid
    )
    assert verify(tmp_path / "runs" / "t")["scores"] > 0 and plain(cfg.gates.unattended)["classes"]


def test_hostile_programs_are_stopped_in_a_real_box_and_the_study_goes_on(tmp_path, go, box_env):
    """A mandate that covers patches lets every program run; the box, the evaluator and the judge
    are what is left.
    """
    limits = [
        f"budget.{role}.{name}={value}"
        for role in ("train", "predict", "propose")
        for name, value in (
            ("cpu_us", 4_000_000),
            ("wall_us", 8_000_000),
            ("memory_bytes", 600_000_000),
            ("processes", 40),
            ("disk_bytes", 8_000_000),
        )
    ]
    cfg = config(
        tmp_path,
        "proposer=hostile",
        "study.arms=[hostile]",
        "study.generations=1",
        "study.proposals=6",
        "proposer.hostile_share=1.0",
        "gates=programs",
        "gates.unattended.drift=5000",
        "task.planned_cpu_us=300000",
        "study.seed=658",
        "reviewer=scripted",
        "reviewer.policy=deny-all",
        *limits,
    )
    box = need_box(lambda: NamespaceBox(box_env, warm=True))
    mandate(cfg)
    try:
        assert go(cfg, box)["finished"]
    finally:
        box.close()
    facts = entries(cfg)
    plans = {
        e.body["digest"]: e.body["plan"]
        for e in facts
        if e.kind == "plan" and e.body["plan"]["purpose"] == "candidate"
    }
    ran = {
        e.body["plan"]: e.body["result"]
        for e in facts
        if e.kind == "job" and e.body["role"] == "train" and e.body["plan"] in plans
    }
    table, store = {one.id: one for one in ATTACKS}, Store(tmp_path / "runs" / "t" / "store")
    programs = {
        plans[name]["hypothesis"].split()[1]: found
        for name, found in ran.items()
        if plans[name]["change_class"] == "patch"
    }
    assert sorted(programs) == [
        "S04b",
        "S05",
        "S12",
    ]  # 100,000 files, an endless line, forbidden calls
    for name, found in programs.items():
        assert re.search(table[name].expect, f"{found['status']}: {found['detail']}"), (name, found)
        assert b"THROUGH" not in store.get(found["log"]), name
    assert (
        len([e for e in facts if e.kind == "champion"]) == 1
        and len([e for e in facts if e.kind == "incident"]) >= 1
    )
    assert verify(tmp_path / "runs" / "t")["scores"] > 0
