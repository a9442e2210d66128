"""The greedy climb on landscapes with a known truth: no training, scores from a law."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import fabricated
import numpy as np
import pytest

from configs.errors import BadInput
from configs.recipe import Recipe
from loop.calibrate import climb
from loop.settings import compose_settings

BASE = Recipe()
GRID = {
    "schedule": ("constant", "linear", "cosine"),
    "loss": ("all", "answer"),
    "answer_order": ("plain", "reversed"),
    "operand_order": ("plain", "reversed", "interleaved"),
    "depth": (1, 2, 3),
    "heads": (1, 2, 4),
    "width": (32, 48, 64),
    "batch_size": (16, 32, 64),
}
WORTH = {
    "schedule": "cosine",
    "loss": "answer",
    "answer_order": "reversed",
    "operand_order": "interleaved",
    "depth": 3,
    "heads": 1,
    "width": 32,
    "batch_size": 16,
}
"""The best value of each knob; each other value is worth nothing."""
REFERENCE = replace(BASE, **WORTH)


class Known(climb.Bench):
    """A bench whose scores are a law's: the worth of each knob at its best, and noise."""

    def __init__(self, worth, noise=0.02, seed=0):
        super().__init__(None, 8, lambda line: None)
        self.worth, self.noise, self.rng = worth, noise, np.random.default_rng(seed)
        self.scores, self.trained = {}, Counter()

    def _train(self, recipes, indices):
        for recipe in recipes:
            true = sum(w for knob, w in self.worth.items() if getattr(recipe, knob) == WORTH[knob])
            for index in indices:
                if (recipe, index) not in self.scores:
                    self.scores[recipe, index] = true + self.noise * self.rng.normal()
                    self.trained[index] += 1

    def _scores(self, recipe, indices):
        return [self.scores[recipe, i] for i in indices if (recipe, i) in self.scores]


@pytest.fixture(scope="module")
def config():
    settings = compose_settings(["task=fast"])
    return replace(settings, task=replace(settings.task, baseline=BASE, grid=GRID))


def walk(worth, config, **kwargs):
    return climb.measure_climb(Known(worth, **kwargs), config.task, REFERENCE, lambda line: None)


def test_as_many_steps_as_knobs_matter_and_the_shares_are_the_law_s(config):
    measured, singles = walk(dict.fromkeys(WORTH, 0.1), config)
    assert measured.depth().climb == 8 and measured.word() == "deep" and not measured.stalled
    assert measured.distance.value == pytest.approx(0.8, abs=0.05)
    assert measured.single == pytest.approx(1 / 8, abs=0.04)
    assert measured.pair == pytest.approx(2 / 8, abs=0.05)
    assert {step.knob for step in measured.steps} == set(WORTH)
    assert {row["knob"] for row in singles} == set(GRID)
    assert [row["value"] for row in singles[:3]] == [WORTH[row["knob"]] for row in singles[:3]]


def test_one_bit_is_shallow_however_many_small_steps_follow(config):
    worth = {**dict.fromkeys(WORTH, 0.06), "loss": 1.0}
    measured, singles = walk(worth, config)
    assert measured.word() == "shallow" and measured.single > 0.6 and singles[0]["knob"] == "loss"


def test_two_bits_are_shallow(config):
    worth = {**dict.fromkeys(WORTH, 0.1), "loss": 0.4, "depth": 0.4}
    measured, _ = walk(worth, config)
    assert measured.single < 1 / 3 < 1 / 2 < measured.pair and measured.word() == "shallow"


def first_gains(config, count=40):
    """Return the told gain of the first step where nothing matters, for many draws of noise."""
    climbs = [walk({}, config, seed=seed)[0] for seed in range(count)]
    assert "deep" not in {one.word() for one in climbs}
    return [one.steps[0].gain for one in climbs if one.steps]


def test_where_nothing_matters_a_step_tells_no_gain_and_hardly_counts(config):
    gains = first_gains(config)
    assert len(gains) > 25
    assert abs(np.mean([gain.value for gain in gains])) < 0.005
    assert np.mean([gain.low > 0 for gain in gains]) < 0.2


def test_told_by_the_seeds_that_chose_the_luck_of_the_choice_would_show(config, monkeypatch):
    monkeypatch.setattr(climb.Bench, "gain", ablated_gain)
    assert np.mean([gain.value for gain in first_gains(config)]) > 0.007


def ablated_gain(bench, base, other):
    """Tell by the seeds that chose."""
    bench._train([base, other], range(bench.seeds))
    scores = (bench._scores(recipe, range(bench.seeds)) for recipe in (base, other))
    return climb.told_gain(*scores)


def test_a_landscape_without_a_path_stalls(config):
    """The reference is better by a worth that no single change has a part of."""
    measured, _ = climb.measure_climb(Trap({}), config.task, REFERENCE, lambda line: None)
    assert measured.stalled and measured.word() == "stalled"


class Trap(Known):
    def _train(self, recipes, indices):
        super()._train(recipes, indices)
        for recipe in set(recipes) & {REFERENCE}:
            self.scores |= {(recipe, i): 1 + self.scores[recipe, i] % 1 for i in indices}


def test_few_seeds_on_most_changes(config):
    bench = Known(dict.fromkeys(WORTH, 0.1))
    climb.measure_climb(bench, config.task, REFERENCE, lambda line: None)
    assert bench.trained[0] > 2 * bench.trained[4] > 0


def test_neighbours_are_legal_and_differ_in_one_knob():
    found = list(climb.neighbours(replace(BASE, width=48), {"heads": (1, 2, 4, 8), "depth": (2,)}))
    assert [climb.change_of(replace(BASE, width=48), one) for one in found] == [
        ("heads", 1),
        ("heads", 2),
        ("heads", 8),
    ]
    assert not list(climb.neighbours(replace(BASE, width=20, heads=4), {"heads": (8,)}))  # type: ignore[arg-type]


def test_a_task_without_a_reference_is_named():
    with pytest.raises(BadInput, match="no reference"):
        climb.climb_task("planted", overrides=["box=planted"])


def test_a_climb_with_another_reference_trains_no_recorded_recipe_twice(monkeypatch):
    """The reference comes first, so another one would move every later recipe by a place."""
    at, plans, granted = {}, {}, []
    facts = SimpleNamespace(at=at, plans=plans)
    running = SimpleNamespace(facts=lambda: facts, config=SimpleNamespace(arms=lambda: ("local",)))

    def grant(running, number, kind, recipe, count):
        granted.append((number, recipe))
        at["local", 0, 0, number] = f"plan {number}"
        plans[f"plan {number}"] = SimpleNamespace(recipe=recipe)
        return SimpleNamespace(digest=f"plan {number}")

    monkeypatch.setattr(climb, "grant_plan", grant)
    monkeypatch.setattr(climb, "train", lambda *arguments: None)
    one, two = replace(BASE, depth=3), replace(BASE, batch_size=16)
    climb.Bench(running, 4, print)._train([BASE, REFERENCE, one], range(1))
    climb.Bench(running, 4, print)._train([BASE, two, one], range(1))
    assert granted[:3] == [(0, BASE), (1, REFERENCE), (2, one)]
    assert granted[3:] == [(0, BASE), (3, two), (2, one)]


def test_a_table_s_climb_is_that_of_its_planted_gains():
    """Three knobs are worth 0.3, 0.2 and 0.1 bits there; a climb is exact on the truth."""
    table = fabricated.fabricate(seeds=8, noise=0.01)
    truth, halves = climb.climb_table(table)
    assert [step.knob for step in truth.steps] == ["learning_rate", "schedule", "depth"]
    assert (truth.word(), truth.stalled, truth.depth().climb) == ("shallow", False, 3)
    assert truth.single == pytest.approx(1 / 2, abs=0.05)
    assert truth.pair == pytest.approx(5 / 6, abs=0.05)
    assert all(step.gain.low == step.gain.value for step in truth.steps)
    assert halves.single == pytest.approx(truth.single, abs=0.1)
    assert all(step.gain.low < step.gain.value for step in halves.steps)


def test_a_table_is_told_by_the_seeds_that_did_not_choose():
    """Where nothing is worth anything, the best of the grid is luck, and the other seeds say so."""
    table = fabricated.fabricate(seeds=8, noise=0.05)
    level = [row for row in table.rows if row.level == 1.0]
    shuffled = np.random.default_rng(3).permutation([row.bits for row in level])
    rows = tuple(replace(r, bits=tuple(b)) for r, b in zip(level, shuffled, strict=True))
    truth, halves = climb.climb_table(replace(table, rows=rows, levels=(1.0,)))
    assert truth.distance.low > 0 and halves.distance.low < 0
    assert halves.word() == "shallow"
