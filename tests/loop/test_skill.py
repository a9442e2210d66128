"""Proposing skill: parents drawn by secret, proposals that no arm tried, looks no history has."""

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeBox, outcome, read_history
from studies import mandate

from configs.arms import CELLS
from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.history import History
from evals.truth import TrueSkill, hold_skills
from loop import session
from loop.campaign import Campaign
from loop.facts.facts import Facts
from loop.facts.places import Invalid
from loop.instruments.gains import pair_gain, read_skills
from loop.instruments.run import Run
from loop.instruments.truth import measure_truth, true_skill
from loop.propose.limit import count_neighbours, list_different
from loop.propose.skill import SPLITS_OF, draw_parents, list_parents, list_tried
from loop.settings import compose_settings
from loop.study.tabulated import TabulatedBox, read_world
from loop.verify.run import verify
from sandbox.ledger import Ledger
from sandbox.store import Store

RUN = Path("runs/t")
TABLE = [
    "study=tabulated",
    "study.name=t",
    "study.arms=[self,random]",
    "study.repeats=1",
    "study.generations=2",
    "study.proposals=2",
    "study.start_trials=8",
    "study.confirm_replicates=6",
    "study.skill_proposals=2",
    "study.skill_parents=3",
    "task.table=fabricated-v1.parquet",
]


pytestmark = pytest.mark.usefixtures("beside_a_table")


def new_neighbours(history):
    """Yield recipes one knob away from the champion, then two, that nobody tried, as knobs."""
    tried = {trial.recipe for trial in history.trials} | set(history.barred)
    single = [
        {name: value}
        for name, values in history.grid.items()
        for value in values
        if value != getattr(history.champion, name)
    ]
    double = [one | other for one, other in itertools.combinations(single, 2)]
    for knobs in [*single, *(both for both in double if len(both) == 2)]:
        if replace(history.champion, **knobs) not in tried:
            yield knobs


def careful(execution):
    """Write new neighbours of the champion, as weights do."""
    if execution.role != "propose":
        return None
    history = read_history(execution)
    knobs = list(new_neighbours(history))[: history.count]
    lines = [json.dumps({"hypothesis": "h", "knobs": one}) for one in knobs]
    return outcome(files={"proposals.jsonl": "\n".join(lines).encode()})


def play(go, write=careful, *more):
    config = compose_settings([*TABLE, *more])
    mandate(config)
    inner = FakeBox(lambda order: 0.5, write)
    assert go(config, TabulatedBox(config, inner), session.execute)["finished"]
    assert verify(RUN)["findings"] == []
    return config, inner, Run(0, Ledger.at(RUN))


def asks_of(run, cell):
    """Return the propose plans of a cell, in order."""
    study = run.config.study
    places = [study.skill_generation(list(CELLS).index(cell), ask) for ask in range(study.asks())]
    return [run.facts.asks["self", 0, place] for place in places]


def test_parents_that_select_and_parents_that_measure_have_no_recipe_in_common():
    task = compose_settings(TABLE).task
    for number in range(20):
        secret = random.Random(number).randbytes(32)
        select, measure = (draw_parents(task, secret, use, 8) for use in ("select", "measure"))
        assert not set(select) & set(measure) and task.baseline not in select + measure
        assert len(set(select)) == len(set(measure)) == 8
        assert measure == draw_parents(task, secret, "measure", 8)
        assert measure[:3] == draw_parents(task, secret, "measure", 3)
    assert len({draw_parents(task, bytes([i]), "measure", 1)[0] for i in range(40)}) > 10
    assert len(set(SPLITS_OF.values())) == 2


def test_more_parents_than_the_grid_can_give_are_refused():
    with pytest.raises(
        BadInput, match=r"skill_parents is 7; it should be at most an eighth of the"
    ):
        compose_settings([*TABLE, "study.skill_parents=7"])
    with pytest.raises(BadInput, match=r"study\.skill_parents is 60; it should be fewer"):
        draw_parents(compose_settings(TABLE).task, b"s", "measure", 60)


def test_parents_whose_neighbours_were_tried_are_passed_over():
    task = compose_settings(TABLE).task
    plain = draw_parents(task, b"s", "measure", 6)
    roomy = draw_parents(task, b"s", "measure", 6, lambda one: one not in plain[:4])
    assert roomy[:2] == plain[4:] and not set(roomy) & set(plain[:4])
    assert draw_parents(task, b"s", "measure", 6, lambda one: False) == plain


def test_all_cells_propose_on_the_same_drawn_parents_and_each_ask_trains_anew(go):
    config, inner, run = play(go)
    parents = {}
    for cell in CELLS:
        histories = [parse_history(run, name) for name in asks_of(run, cell)]
        parents[cell] = [history.champion for history in histories]
        assert len({history.champion for history in histories}) == 3
    assert len({tuple(own) for own in parents.values()}) == 1
    drawn = parents["self"]
    assert config.task.baseline not in drawn
    skill = [plan for plan in run.facts.plans.values() if plan.purpose == "skill"]
    assert len(skill) == 4 * 3 * 2 and {plan.reference_recipe for plan in skill} == set(drawn)
    for plan in skill:
        different = set(list_different(plan.reference_recipe, plan.recipe))
        assert set(plan.changed) == different and different, "told against the drawn parent"
    names = [name for name, plan in run.facts.plans.items() if plan.purpose == "skill"]
    for role in ("predict", "champion-predict"):
        assert all(run.facts.scores[name, role, 0] for name in names), "the gate lets each pass"
    asked = [e for e in inner.ran if e.role == "train"]
    assert len({e.files["job.json"] for e in asked}) == len(asked)


def parse_history(run, name):
    blob, _ = run.facts.shown[name]
    return parse(History, strict_json(Store(RUN / "store").get(blob), limit=10**7))


def test_without_a_table_the_first_parent_is_the_baseline():
    config = compose_settings(TABLE)
    without = replace(config.task, table="", table_digest="", folds=0)
    boxed = replace(config, task=without, box=replace(config.box, kind="auto"))
    on_table, own = (
        list_parents(Campaign(Stub(one), "self", 0, None, print), "measure")
        for one in (config, boxed)
    )
    assert own == [config.task.baseline, *on_table[1:]] and len(set(own)) == 3
    assert count_neighbours(config.task.baseline, {"depth": (1, 2, 3), "width": (32, 64)}, 2) == 5
    old = replace(boxed, study=replace(boxed.study, skill_parents=0))
    alone = list_parents(Campaign(Stub(old), "self", 0, None, print), "measure")
    assert alone == [config.task.baseline]


class Stub:
    """Stands for an open study: its settings, and a secret for each repeat."""

    secret = b"of the repeat"

    def __init__(self, config):
        self.config, self.items = config, self

    def facts(self):
        return Facts(format=2)

    def of(self, repeat):
        return self


def test_a_proposal_is_new_to_every_arm_and_to_its_cell(go):
    _, _, run = play(go)
    tried = {plan.recipe for plan in list_tried(run.facts, 0)}
    by_random = {p.recipe for p in run.facts.plans.values() if p.arm == "random"}
    assert by_random - {run.config.task.baseline} and by_random <= tried
    for cell in CELLS:
        barred = [set(parse_history(run, name).barred) for name in asks_of(run, cell)]
        assert all(tried <= own for own in barred) and len(barred[2]) > len(barred[0])
        own = [
            run.facts.plans[name].recipe
            for place, name in run.facts.at.items()
            if not isinstance(name, Invalid) and run.facts.plans[name].asked in asks_of(run, cell)
        ]
        assert len(own) == len(set(own)) == 6 and not set(own) & tried


def test_a_program_that_repeats_a_tried_recipe_is_told_so_and_pays_the_floor(go):
    def careless(execution):
        if execution.role != "propose":
            return None
        history = read_history(execution)
        start = history.trials[0].recipe
        knobs = {
            name: getattr(start, name)
            for name in history.grid
            if getattr(start, name) != getattr(history.champion, name)
        }
        text = json.dumps({"hypothesis": "h", "knobs": knobs})
        return outcome(files={"proposals.jsonl": f"{text}\n{text}".encode()})

    _, _, run = play(go, careless, "study.most_changes=0")
    last = run.config.study.generations
    reasons = {
        one.reason
        for place, one in run.facts.at.items()
        if isinstance(one, Invalid) and place[2] > last
    }
    assert reasons and all("new to every arm of its repeat" in reason for reason in reasons)
    world = read_world(run.config)
    first = next(read_skills(run)).value
    floor = run.config.objective.floor
    assert first == pytest.approx(world.score(run.config.task.baseline) - floor, abs=0.2)


def test_no_look_at_skill_enters_a_history(go):
    _, _, run = play(go)
    skill = {name for name, plan in run.facts.plans.items() if plan.purpose == "skill"}
    assert skill and not skill & set(run.facts.trials(("self", 0)))
    recipes = {run.facts.plans[name].recipe for name in skill}
    for name in run.facts.asks.values():
        shown = {trial.recipe for trial in parse_history(run, name).trials}
        assert not shown & recipes
    looked = {split for split, name in run.facts.looked if name in skill}
    assert looked == {"confirm"}


def test_the_truth_of_a_table_tells_q_of_each_cell_and_the_self_effect(go):
    _, _, run = play(go)
    world, told = read_world(run.config), measure_truth([run])["arms"]["self"]
    for cell in CELLS:
        plans = [
            run.facts.plans[name]
            for name in run.facts.plans
            if run.facts.plans[name].asked in asks_of(run, cell)
        ]
        by_hand = [world.score(p.reference_recipe) - world.score(p.recipe) for p in plans]
        assert told[f"Q, {cell}"]["true"]["value"] == pytest.approx(sum(by_hand) / 6)
        assert true_skill(world, run, "self", 0, cell) == pytest.approx(sum(by_hand) / 6)
    measured = [
        pair_gain(run, name, run.unbounded)
        for name, plan in run.facts.plans.items()
        if plan.asked in asks_of(run, "self")
    ]
    assert told["Q, self"]["measured"]["value"] == pytest.approx(sum(measured) / 6)
    gap = told["Q, self"]["true"]["value"] - told["Q, refit"]["true"]["value"]
    assert told["self effect"]["true"]["value"] == pytest.approx(gap)


def test_the_self_effect_is_paired_over_repeats_that_have_both_cells():
    def one(cell, repeat, value):
        return TrueSkill(cell=cell, repeat=repeat, measured=value, true=value / 2)

    held = hold_skills([one("self", 0, 3.0), one("refit", 0, 1.0), one("self", 1, 9.0)])
    assert held["self effect"]["measured"].value == 2.0 and held["self effect"]["true"].n == 1
    assert hold_skills([]) == {} and "self effect" not in hold_skills([one("self", 0, 1.0)])
