"""Arms that differ from `self` in one thing, equal planned compute, and the measures after the last
generation. On a box that computes nothing.
"""

import json
import random
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBox, outcome
from safetensors.numpy import load
from studies import better, config, entries, gate_of, mandate, page_of, read_facts

from configs.arms import BOTH, CELLS, LONGER, MORE
from configs.build import parse, plain, strict_json
from configs.errors import BadInput, Denied, Stopped
from configs.history import History, Trial
from configs.recipe import Recipe
from configs.records import Amount
from evals.data import replicate_seed
from evals.intervals import missing
from evals.metrics import log_odds, primary
from loop import session
from loop.facts.places import Invalid
from loop.instruments import raised as instruments_raised
from loop.instruments.gains import pair_gain, pair_scores, read_skills
from loop.instruments.gather import read_records
from loop.instruments.measure import measure
from loop.instruments.run import Run
from loop.measure import jobs as measure_jobs
from loop.measure import replicate as measure_replicate
from loop.propose import history
from loop.verify.run import verify
from sandbox import control
from sandbox.canonical import digest
from sandbox.ledger import Ledger

MANY = [
    "task.notebook=true",
    "study.start_trials=16",
    "budget.jobs=4000",
    "gates.unattended.jobs=4000",
    "budget.cpu_seconds=4000",
    "gates.unattended.cpu_seconds=4000",
    "budget.looks.feedback=2000",
    "budget.looks.confirm=500",
]
DEPTHS = [1, 3, 4, 1, 3, 4]
SKILLS = len(CELLS)


def lines(count, start=0):
    """So many proposals that all differ from each other and from the baseline."""
    knobs = [
        {"depth": DEPTHS[i % 6], "dropout": 0.01 * (1 + i % 45)}
        for i in range(start, start + count)
    ]
    return [json.dumps({"hypothesis": "h", "knobs": one}) for one in knobs]


def writing(execution):
    """Propose jobs that write as many proposals as they are asked for; everything else is the fake
    box's own.
    """
    if execution.role != "propose":
        return None
    history = seen(execution)
    return outcome(
        files={
            "proposals.jsonl": (
                "\n".join(lines(history.count, len(history.trials) + len(history.barred))).encode()
            )
        }
    )


def seen(execution):
    return parse(History, strict_json(execution.files["history.json"], limit=10**7))


def study(tmp_path, go, arms, *more, quality=better, writes=writing):
    cfg = config(tmp_path, *MANY, f"study.arms=[{arms}]", *more)
    mandate(cfg)
    box = FakeBox(quality, writes)
    assert go(cfg, box)["finished"]
    verify(tmp_path / "runs" / "t")
    return cfg, [e for e in box.ran if e.role == "propose"], read_facts(tmp_path / "runs" / "t")


def told(history):
    return [(t.outcome, t.score) for t in history.trials]


def weights_of(facts, name):
    return facts.results[name, "train", 0][0].outputs["weights.safetensors"]


@pytest.mark.parametrize(("arm", "shown"), [("frozen", [17, 17, 17]), ("refit", [17, 19, 21])])
def test_generation_zero_proposes_for_ever_from_its_own_history_or_the_growing_one(
    tmp_path, go, arm, shown
):
    _, asked, facts = study(tmp_path, go, arm, "study.generations=3")
    champions = facts.champions[arm, 0]
    assert len(champions) > 1, "an arm that promotes nothing would pass for any other"
    assert {digest(e.files["weights.safetensors"]) for e in asked} == {
        weights_of(facts, champions[0])
    }
    assert {facts.plans[n].recipe for n in facts.asks.values()} == {
        facts.plans[champions[0]].recipe
    }  # generation 0's recipe reads
    assert [len(seen(e).trials) for e in asked] == shown
    assert [len(seen(e).barred) for e in asked] == ([0, 2, 4] if arm == "frozen" else [0, 0, 0])


def test_every_recipe_of_a_history_has_every_knob_of_the_grid():
    """Recorded bytes leave out knobs at their default, which a program would miss."""
    one, trial = Recipe(), Trial(recipe=Recipe(depth=3), outcome="scored", score=0.5)
    shown = History(
        champion=one,
        champion_source="",
        champion_score=0.5,
        trials=(trial,),
        barred=(one, trial.recipe),
        grid={"depth": (2, 3), "context": (32, 64)},
        count=1,
        most_changes=0,
    )
    assert "context" not in plain(one) and "depth" in plain(one)
    told = strict_json(history.write_history(shown))
    recipes = [told["champion"], told["trials"][0]["recipe"], *told["barred"]]
    assert len(recipes) == 4 and {one.get("depth") for one in recipes} == {Recipe().depth, 3}
    assert {one.get("context") for one in recipes} == {64}


def test_scrambled_outcomes_are_the_same_outcomes_under_other_recipes(tmp_path, go):
    _, asked, _ = study(tmp_path, go, "scrambled,self")
    one, other = [h for h in map(seen, asked) if len(h.trials) == 17]  # generation 1 of either arm
    assert [t.recipe for t in one.trials] == [t.recipe for t in other.trials]
    assert Counter(told(one)) == Counter(told(other)) and told(one) != told(other)


SAME_AT_FIRST = ("self", "refit", "frozen", "scrambled_own", "no_own")


def test_before_a_loop_has_outcomes_its_twins_read_the_same_bytes(tmp_path, go):
    """So a difference between them can only come from what the loop itself found."""
    _, asked, facts = study(tmp_path, go, ",".join(SAME_AT_FIRST), "study.generations=1")
    assert len(asked) == len(SAME_AT_FIRST) and len({e.files["history.json"] for e in asked}) == 1
    assert all(e.files == asked[0].files for e in asked)
    recipes = {
        arm: [p.recipe for p in facts.plans.values() if (p.arm, p.purpose) == (arm, "candidate")]
        for arm in SAME_AT_FIRST
    }
    assert recipes["self"] and all(recipes[arm] == recipes["self"] for arm in recipes)


def third_generation(tmp_path, go, arm):
    """What an arm and `self` read in generation 3: start trials and baseline, then four of its own.
    The fake box scores every recipe differently.
    """
    _, asked, _ = study(
        tmp_path,
        go,
        f"{arm},self",
        "study.generations=3",
        "objective.feedback=rounded",
        "box.parallel=1",
        quality=lambda order: 0.2 + 0.05 * order.recipe.depth + order.recipe.dropout / 2,
    )
    return [h for h in map(seen, asked) if len(h.trials) == 21]


@pytest.mark.parametrize(
    ("arm", "moved", "kept"),
    [
        ("scrambled_own", slice(17, None), slice(17)),
        ("scrambled_start", slice(17), slice(17, None)),
    ],
)
def test_only_own_outcomes_or_only_those_of_the_start_are_permuted(tmp_path, go, arm, moved, kept):
    one, other = third_generation(tmp_path, go, arm)
    assert [t.recipe for t in one.trials][kept] == [t.recipe for t in other.trials][kept]
    assert told(one)[kept] == told(other)[kept]
    assert Counter(told(one)[moved]) == Counter(told(other)[moved])
    assert told(one)[moved] != told(other)[moved]


def test_a_deranged_outcome_never_stays_with_its_recipe():
    for seed, count in product(range(20), range(2, 12)):
        outcomes = list(range(count))
        history._derange(random.Random(seed), outcomes)
        assert sorted(outcomes) == list(range(count))
        assert all(place != outcome for place, outcome in enumerate(outcomes))


def test_without_own_rows_a_history_is_as_long_and_repeats_the_start(tmp_path, go):
    one, other = third_generation(tmp_path, go, "no_own")
    start = [(t.recipe, t.outcome, t.score) for t in other.trials[:17]]
    rows = [(t.recipe, t.outcome, t.score) for t in one.trials]
    assert rows[:17] == start and set(rows[17:]) <= set(start) and len(rows) == len(other.trials)
    own = {t.recipe for t in one.trials[17:]} - {recipe for recipe, *_ in start}
    assert not own and len(one.barred) == 4  # what was tried is barred all the same


def test_scrambled_weights_learn_from_scrambled_notebooks_too(tmp_path, go):
    cfg, _, facts = study(
        tmp_path, go, "scrambled,self", quality=lambda order: 0.1 + 0.8 * (order.recipe.depth == 3)
    )
    books = {
        arm: next(
            p.notebook for p in facts.plans.values() if (p.arm, p.purpose) == (arm, "baseline")
        )
        for arm in ("scrambled", "self")
    }
    rows = {
        arm: load((Path(cfg.runs) / "t" / "store" / b[:2] / b[2:]).read_bytes())["trials"]
        for arm, b in books.items()
    }
    assert (rows["self"][:, 1:] == rows["scrambled"][:, 1:]).all() and (
        rows["self"][:, 0] != rows["scrambled"][:, 0]
    ).any()
    assert sorted(rows["self"][:, 0]) == sorted(rows["scrambled"][:, 0])


def test_no_carry_starts_every_generation_from_the_baseline(tmp_path, go):
    _, _, facts = study(tmp_path, go, "no_carry,self", "study.generations=3")
    parents = {
        arm: [p.parent for p in facts.plans.values() if (p.arm, p.purpose) == (arm, "candidate")]
        for arm in ("no_carry", "self")
    }
    assert len(facts.champions["no_carry", 0]) > 1 and set(parents["no_carry"]) == {
        facts.champions["no_carry", 0][0]
    }
    assert len(set(parents["self"])) > 1


def test_one_shot_is_one_round_with_the_proposals_of_all(tmp_path, go):
    _, asked, facts = study(tmp_path, go, "one_shot", "study.generations=3")
    written = [p for p in facts.plans.values() if p.purpose == "candidate"]
    assert (
        len(asked) == 1
        and seen(asked[0]).count == 6
        and {p.generation for p in written} == {1}
        and len(written) == 6
    )
    verdict = next(v for n, v in facts.verdicts.items() if facts.plans[n].purpose == "candidate")
    assert verdict.level == pytest.approx(0.05)  # its one confirmation has all of alpha


def test_a_free_arm_has_no_change_limit_and_its_twin_has(tmp_path, go):
    arms = "no_carry,no_carry_free,one_shot,one_shot_free"
    cfg, asked, facts = study(
        tmp_path, go, arms, "study.generations=1", "study.most_changes=1", "study.proposals=3"
    )
    limits = {arm: cfg.study.change_limit(arm) for arm in cfg.arms()}
    assert limits == {"no_carry": 1, "no_carry_free": 0, "one_shot": 1, "one_shot_free": 0}
    assert sorted(seen(e).most_changes for e in asked) == [0, 0, 1, 1]
    wide = {p.arm for p in facts.plans.values() if p.purpose == "candidate" and len(p.changed) > 1}
    assert wide == {"no_carry_free", "one_shot_free"}
    assert cfg.study.rounds("one_shot_free") == cfg.study.rounds("one_shot")
    told = measure([tmp_path / "runs" / "t"])["between"]
    assert {name for name in told if name.startswith("reach")} == {
        "reach, no_carry",
        "reach, one_shot",
    }
    assert told["reach, one_shot"]["word"] and told["self minus one_shot_free"]["word"]


def trainings(facts, arm):
    """Trainings and readings of a campaign up to its last generation."""
    return sum(
        role in ("train", "champion-train", "propose")
        for (n, role, _) in facts.results
        if facts.plans[n].arm == arm
        and facts.plans[n].purpose in ("baseline", "candidate", "propose")
    )


def test_arms_end_at_equal_planned_compute_whatever_a_generation_cost(tmp_path, go):
    cfg, _, facts = study(
        tmp_path,
        go,
        "self,random,one_shot",
        "study.generations=8",
        "study.plan_trainings=50",
        quality=lambda order: 0.5,
    )
    worst = 1 + 2 + 2 * 8
    for arm in ("self", "random"):
        assert 50 - worst < trainings(facts, arm) <= 50, arm
    assert trainings(facts, "one_shot") <= 50 and cfg.study.rounds("one_shot") == (1, 50 - 2 - 16)
    last = {
        arm: max(
            p.generation for p in facts.plans.values() if p.arm == arm and p.purpose == "candidate"
        )
        for arm in ("self", "random")
    }
    assert (
        last["random"] >= last["self"] and last["self"] < 8
    )  # who does not read has more candidates


def test_a_plan_too_small_for_one_generation_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"plan_trainings is 19; it should be 0, or at least 20"):
        config(tmp_path, *MANY, "study.plan_trainings=19")


def test_twins_get_a_quarter_more_of_one_thing(tmp_path, go):
    cfg, _, facts = study(
        tmp_path, go, ",".join(("self", *MORE)), "study.generations=1", "study.proposals=4"
    )
    of = {
        arm: [p for p in facts.plans.values() if (p.arm, p.purpose) == (arm, "candidate")]
        for arm in ("self", *MORE)
    }
    assert {arm: len(plans) for arm, plans in of.items()} == {
        "self": 4,
        "more_compute": 4,
        "more_proposals": 5,
        "more_replicates": 4,
        "more_both": 5,
    }
    planned = cfg.task.planned_cpu_us
    assert {arm: plans[0].planned_cpu_us / planned for arm, plans in of.items()} == {
        "self": 1,
        "more_compute": 1.25,
        "more_proposals": 1,
        "more_replicates": 1,
        "more_both": 1.25,
    }
    assert of["more_compute"][0].steps > next(
        p.steps for p in of["self"] if p.recipe == of["more_compute"][0].recipe
    )
    most = {
        arm: next(j.count for j in plans[0].jobs if j.role == "champion-train")
        for arm, plans in of.items()
    }
    assert most == {**dict.fromkeys(of, 8), "more_replicates": 10}


def test_a_study_may_say_how_much_more_its_twins_get(tmp_path):
    more = "study.raised={compute: 4, proposals: 2, replicates: 1.5}"
    study = config(tmp_path, *MANY, "study.arms=[self]", more).study
    assert study.more(100, "more_both", "compute") == 400
    assert study.rounds("more_both")[1] == 2 * study.rounds("self")[1] == 4
    assert (study.replicates("more_replicates"), study.replicates("more_both")) == (12, 8)
    assert study.more(100, "self", "compute") == 100
    with pytest.raises(BadInput, match=r"study\.raised is 'time'; it should be one of compute"):
        config(tmp_path, "study.raised={time: 2}")
    with pytest.raises(BadInput, match=r"study\.raised\.compute is 1\.0; it should be above 1"):
        config(tmp_path, "study.raised={compute: 1}")


TEAM = ("study.proposers=2", "study.proposals=4", "study.generations=3")


def always_new():
    """Propose jobs that write what nobody proposed before."""
    numbers = iter(range(1000))

    def write(execution):
        if execution.role != "propose":
            return None
        knobs = [{"depth": 3, "dropout": 0.001 * (1 + next(numbers))} for _ in range(2)]
        texts = [json.dumps({"hypothesis": "h", "knobs": one}) for one in knobs]
        return outcome(files={"proposals.jsonl": "\n".join(texts).encode()})

    return write


def authored(facts, arm, author):
    """Digests of the candidates of a proposer: of four proposals two each."""
    return [
        n
        for n, p in facts.plans.items()
        if (p.arm, p.purpose) == (arm, "candidate") and p.index // 2 == author
    ]


def test_proposers_at_once_read_one_notebook_or_each_its_own(tmp_path, go):
    """On one champion: two proposers write two each, and know nothing of a generation under way."""
    arms = "parallel_shared,parallel_separate"
    more = (*TEAM, "objective.feedback=rounded")
    cfg, asked, facts = study(tmp_path, go, arms, *more, writes=always_new())
    assert len(asked) == 2 * 3 * 2 and {seen(e).count for e in asked} == {2}
    plans = {
        (p.arm, p.generation, p.index): n for n, p in facts.plans.items() if p.purpose == "propose"
    }
    assert len(plans) == len(asked)
    store = Path(cfg.runs) / "t" / "store"
    for (arm, generation, author), name in plans.items():
        blob = facts.shown[name][0]
        told = parse(History, strict_json((store / blob[:2] / blob[2:]).read_bytes(), 10**7))
        earlier = [
            facts.plans[n].recipe
            for n in facts.plans
            if facts.plans[n].arm == arm
            and facts.plans[n].purpose == "candidate"
            and facts.plans[n].generation < generation
            and (arm == "parallel_shared" or n in authored(facts, arm, author))
        ]
        assert [t.recipe for t in told.trials[17:]] == earlier and told.barred == ()
        assert len(earlier) == (generation - 1) * (4 if arm == "parallel_shared" else 2)
        written = [n for n in authored(facts, arm, author) if facts.plans[n].asked == name]
        assert len(written) == 2 and {facts.plans[n].generation for n in written} == {generation}
        champion = facts.plans[facts.plans[name].parent].recipe
        assert told.champion == champion and told.champion_score is not None
    parents = {arm: {facts.plans[plans[arm, 3, author]].parent for author in (0, 1)}
               for arm in arms.split(",")}  # fmt: skip
    assert all(len(names) == 1 for names in parents.values())  # one code base
    assert all(len(facts.champions[arm, 0]) > 1 for arm in parents)


def test_weights_of_separate_proposers_learn_nobody_s_own_trials(tmp_path, go):
    arms = "parallel_shared,parallel_separate"
    cfg, _, facts = study(tmp_path, go, arms, *TEAM, writes=always_new())
    sizes = dict[str, set[int]]()
    for plan in facts.plans.values():
        if plan.purpose == "candidate":
            blob = Path(cfg.runs) / "t" / "store" / plan.notebook[:2] / plan.notebook[2:]
            sizes.setdefault(plan.arm, set()).add(len(load(blob.read_bytes())["trials"]))
    assert sizes == {"parallel_shared": {17, 21, 25}, "parallel_separate": {17}}


def test_proposers_at_once_pay_for_each_reading(tmp_path, go):
    cfg, _, facts = study(
        tmp_path,
        go,
        "self,parallel_shared",
        "study.generations=8",
        "study.proposers=4",
        "study.proposals=4",
        "study.plan_trainings=75",
        quality=lambda order: 0.5,
    )
    worst = {arm: cfg.study.worst(arm) for arm in cfg.arms()}
    assert worst == {"self": 1 + 4 + 16, "parallel_shared": 4 + 4 + 16}
    assert all(75 - worst[arm] < trainings(facts, arm) <= 75 for arm in worst)
    read = Counter(p.arm for p in facts.plans.values() if p.purpose == "propose")
    last = {arm: max(p.generation for p in facts.plans.values() if p.arm == arm) for arm in worst}
    assert read["parallel_shared"] % 4 == 0 and read["self"] < read["parallel_shared"]
    assert set(last) == set(worst)
    told = measure([tmp_path / "runs" / "t"])["between"]
    assert "parallel tpe" not in told
    shared = told["parallel"]["yield per compute"]["shared minus single"]
    assert shared["unit"] == "log-odds per planned CPU-second" and shared["value"] is not None
    assert told["parallel"]["yield per compute"]["shared minus separate"]["word"] == "not measured"


def test_programs_work_at_once_too_and_their_difference_is_told(tmp_path, go):
    arms = "parallel_shared_tpe,parallel_separate_tpe,tpe"
    _, _, facts = study(tmp_path, go, arms, *TEAM, "study.repeats=2", "study.most_changes=2")
    told = measure([tmp_path / "runs" / "t"])
    figures = told["between"]["parallel tpe"]
    assert set(figures) == {"gain", "yield per compute", "duplicates", "distance"}
    assert all(figure["n"] == 2 for pairs in figures.values() for figure in pairs.values())
    page = page_of(tmp_path / "runs" / "t")
    shown = {"gain": "gain where arms are compared"}
    for name, pairs in figures.items():
        assert all(f"parallel tpe, {shown.get(name, name)}, {pair}" in page for pair in pairs)
    space = {
        name: values
        for name, values in config(tmp_path, *MANY).task.choices().items()
        if len(values) > 1
    }
    for arm in arms.split(","):
        by_hand = []
        for repeat, generation in product(range(2), (1, 2, 3)):
            recipes = [
                p.recipe
                for p in facts.plans.values()
                if (p.arm, p.repeat, p.generation, p.purpose)
                == (arm, repeat, generation, "candidate")
            ]
            pairs = [
                sum(getattr(a, k) != getattr(b, k) for k in space) / len(space)
                for i, a in enumerate(recipes)
                for b in recipes[:i]
            ]
            by_hand.append(np.mean(pairs))
        told_apart = told["arms"][arm]["distance between proposals"]["value"]
        assert told_apart == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("after", [1, 2, 3])
def test_proposers_killed_at_work_go_on_and_nobody_is_asked_twice(tmp_path, go, after):
    cfg = config(tmp_path, *MANY, "study.arms=[parallel_separate]", *TEAM)
    mandate(cfg)
    whole, calls = FakeBox(better, writing), []

    def breaking(execution):
        calls.append(execution.role)
        if execution.role == "propose" and calls.count("propose") == after:
            raise RuntimeError("the power went")
        return writing(execution)

    with pytest.raises(RuntimeError, match="power"):
        go(cfg, FakeBox(better, breaking))
    assert go(cfg, whole)["finished"]
    verify(tmp_path / "runs" / "t")
    facts = read_facts(tmp_path / "runs" / "t")
    places = Counter(
        (p.generation, p.index) for p in facts.plans.values() if p.purpose == "propose"
    )
    assert places == Counter({(g, author): 1 for g in (1, 2, 3) for author in (0, 1)})
    # The question under way is asked again, and no other.
    assert sum(e.role == "propose" for e in whole.ran) == 6 - (after - 1)


def test_proposers_who_cannot_share_a_generation_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"study\.proposers is 1; it should be at least 2"):
        config(tmp_path, *MANY, "study.arms=[parallel_shared]")
    with pytest.raises(BadInput, match=r"study\.proposers is 3; .* a divisor of the 4 proposals"):
        config(tmp_path, *MANY, "study.arms=[self]", "study.proposers=3", "study.proposals=4")


def test_a_person_s_list_is_proposed_in_order_and_ends_the_campaign(tmp_path, go):
    script = "proposer.script=[{depth: 1}, {width: 96}, {depth: 77}]"
    cfg, _, facts = study(
        tmp_path, go, "scripted", "study.generations=5", "proposer=scripted", script
    )
    assert [p.changed for p in facts.plans.values() if p.purpose == "candidate"] == [
        {"depth": 1},
        {"width": 96},
    ]
    kinds = [e.kind for e in entries(cfg)]
    assert kinds.count("invalid") == 1 and kinds.count("used-up") == 1 and "end" in kinds


def test_an_empty_list_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"arm scripted needs a setting; give proposer\.script"):
        config(tmp_path, "proposer=scripted", "study.arms=[scripted]")


def measured(tmp_path, go, *more):
    return study(tmp_path, go, "self", "study.skill_proposals=3", *more)


def test_skill_trains_each_cell_anew_and_measures_its_proposals_on_the_baseline(tmp_path, go):
    _, asked, facts = measured(tmp_path, go)
    cells, champions = asked[-SKILLS:], facts.champions["self", 0]
    assert (
        len(champions) > 1
        and len({digest(e.files["weights.safetensors"]) for e in cells}) == SKILLS
    )
    assert not {digest(e.files["weights.safetensors"]) for e in cells} & {
        weights_of(facts, n) for n in champions
    }  # nobody's screened weights
    recipes = [
        facts.plans[facts.asks["self", 0, g]].reference_recipe
        for g in sorted(g for _, _, g in facts.asks)[-SKILLS:]
    ]
    first, last = facts.plans[champions[0]].recipe, facts.plans[champions[-1]].recipe
    assert recipes == [last, first, first, last] and list(CELLS) == [
        "self",
        "refit",
        "frozen",
        "scrambled",
    ]
    shown = [seen(e) for e in cells]
    assert [len(h.trials) for h in shown] == [21, 21, 17, 21] and {h.champion for h in shown} == {
        first
    }
    assert told(shown[0]) == told(shown[1]) != told(shown[3]) and Counter(
        told(shown[0])
    ) == Counter(told(shown[3]))
    plans = [(n, p) for n, p in facts.plans.items() if p.purpose == "skill"]
    assert (
        len(plans) == 3 * SKILLS
        and {p.reference_recipe for _, p in plans} == {first}
        and {p.parent for _, p in plans} == {champions[0]}
    )
    assert all(
        facts.scores[n, role, 0].split == "confirm"
        for n, _ in plans
        for role in ("predict", "champion-predict")
    )
    assert (
        facts.looks[0, "confirm"] == 2 + 1 + 3 * SKILLS
    )  # two confirmations, the closing look, and one for each


@pytest.mark.parametrize("checked", [True, False])
def test_proposals_that_measure_skill_keep_to_the_change_limit(tmp_path, go, monkeypatch, checked):
    if not checked:  # the loop counts nothing, and the gate does all the same
        monkeypatch.setattr("loop.propose.question.need_few_changes", lambda *_: None)
    _, _, facts = study(
        tmp_path, go, "self", "study.skill_proposals=2", "study.most_changes=1",
        "study.generations=1",
    )  # fmt: skip
    skill = [(n, p) for n, p in facts.plans.items() if p.purpose == "skill"]
    reasons = [
        proposal.reason for (_, _, generation, _), proposal in facts.at.items()
        if generation > 2 and isinstance(proposal, Invalid)
    ]  # fmt: skip
    if checked:
        assert reasons == ["changes is 2; it should be at most 1 knobs and regions"] * 2 * SKILLS
        worths = [s.value for s in read_records([tmp_path / "runs/t"]).skills]
        assert not skill and len(worths) == SKILLS and max(worths) < 0  # worse than no change
    else:
        denied = {facts.denied[name, p.change_class].split(" ", 2)[2] for name, p in skill}
        assert len(skill) == 2 * SKILLS and denied == {
            "changes 2 knobs and regions; at most 1 may be"
        }


def test_nothing_that_measures_skill_can_become_champion(tmp_path, go):
    cfg, _, facts = measured(tmp_path, go)
    name = next(n for n, p in facts.plans.items() if p.purpose == "skill")
    with pytest.raises(Denied):
        gate_of(cfg).authority(name, "promote")


def test_a_killed_measure_of_skill_goes_on_where_it_was(tmp_path, go):
    cfg = config(tmp_path, *MANY, "study.arms=[self]", "study.skill_proposals=2")
    mandate(cfg)
    whole = FakeBox(better, writing)
    calls = []

    def breaking(execution):
        calls.append(execution.role)
        if calls.count("propose") == 4 and execution.role == "train":  # in the second cell
            raise RuntimeError("the power went")
        return writing(execution)

    with pytest.raises(RuntimeError, match="power"):
        go(cfg, FakeBox(better, breaking))
    before = len(entries(cfg))
    assert go(cfg, whole)["finished"]
    assert (
        sum(e.role == "propose" for e in whole.ran) == 2 and len(entries(cfg)) > before
    )  # two cells were done and are not done again
    verify(tmp_path / "runs" / "t")


def test_a_larger_look_trains_both_sides_with_four_times_the_compute(tmp_path, go):
    cfg, _, facts = study(tmp_path, go, "self", "study.larger_replicates=4")
    found = [(n, p) for n, p in facts.plans.items() if p.purpose == "larger"]
    assert len(found) == 1 and found[0][1].planned_cpu_us == 4 * cfg.task.planned_cpu_us
    closing = next(p for p in facts.plans.values() if p.purpose == "final")
    assert (
        found[0][1].steps > 3 * closing.steps
        and found[0][1].reference_steps > 3 * closing.reference_steps
    )
    assert facts.verdicts[found[0][0]].replicates == 4
    assert not any(found[0][0] in names for names in facts.champions.values())


def test_four_times_the_compute_needs_room_in_the_limit_of_a_training(tmp_path):
    with pytest.raises(BadInput, match=r"budget\.train\.cpu_us"):
        config(
            tmp_path,
            *MANY,
            "study.larger_replicates=4",
            "budget.train.cpu_us=4000000",
            "task.planned_cpu_us=3000000",
        )


def test_measures_cost_nothing_of_the_campaigns_plan_and_are_paid_by_the_study(tmp_path, go):
    _, _, facts = measured(tmp_path, go)
    paid = sum(
        (
            r.charged
            for (n, _, _), (r, _) in facts.results.items()
            if facts.plans[n].purpose == "skill"
        ),
        Amount(),
    )
    assert paid.jobs == 3 * SKILLS * 4
    assert np.isfinite(trainings(facts, "self"))


# What the instruments read of it.


def test_effects_and_rungs_are_read_from_the_ledger(tmp_path, go):
    quality = {1: 0.6, 2: 0.1, 3: 0.8, 4: 0.3}
    _, _, facts = study(
        tmp_path,
        go,
        "self,refit",
        "study.repeats=2",
        "study.skill_proposals=2",
        "study.larger_replicates=4",
        "study.proposals=3",
        quality=lambda order: quality[order.recipe.depth],
    )
    found = read_records([tmp_path / "runs" / "t"])
    last = 2
    assert sorted((s.repeat, s.recipe, s.history, s.scrambled) for s in found.skills) == sorted(
        (r, *cell)
        for r in (0, 1)
        for cell in ((last, last, False), (0, last, False), (0, 0, False), (last, last, True))
    )
    one = next(n for n, p in facts.plans.items() if p.purpose == "skill" and p.recipe.depth != 2)
    pair = [facts.scores[one, role, 0].exact_match for role in ("predict", "champion-predict")]
    assert pair[0] > pair[1]
    assert all(
        s.value > 0 for s in found.skills
    )  # log-odds: every proposal has another depth, and each of those is better
    told = measure([tmp_path / "runs" / "t"])
    assert {told["between"][f"{name} effect"]["word"] for name in ("self", "data", "placebo")} == {
        "cannot tell"
    }  # two repeats
    assert (
        told["between"]["self effect"]["n"] == 2
        and told["between"]["self minus refit"]["word"] == "cannot tell"
    )
    rungs = {h.rung for h in found.held["self"] if h.value == h.value}
    assert {"feedback", "gate", "closing", "carries", "large"} <= rungs and "sealed" not in rungs
    assert told["warning sign"] == {"sign": "not registered"}
    after = {p.generation for p in facts.plans.values() if p.purpose == "skill"}
    assert max(after) > last and all(
        p.generation <= last for p in found.plans["self"]
    )  # measures of skill are no proposals of the campaign


def test_a_proposal_that_failed_counts_with_the_floor_and_one_that_reviewers_refused_says_nothing(
    tmp_path, go
):
    quality = {1: 0.6, 2: 0.1, 3: 0.8, 4: 0.3}
    study(
        tmp_path,
        go,
        "self",
        "study.skill_proposals=3",
        quality=lambda order: quality[order.recipe.depth],
    )
    run = Run(0, Ledger.at(tmp_path / "runs" / "t"))
    plans = [run.facts.at["self", 0, run.config.study.skill_generation(0), i] for i in range(3)]
    each = [pair_gain(run, n, run.unbounded) for n in plans]
    assert next(read_skills(run)).value == pytest.approx(sum(each) / 3)
    assert each[0] != pytest.approx(sum(each) / 3)
    failed = run.facts.results[plans[0], "train", 0]
    run.facts.results[plans[0], "train", 0] = (replace(failed[0], status="crashed"), failed[1])
    # Uniform draws lose less than a crash: the floor of a share is that no answer is right.
    parent = [s for n in plans for s in pair_scores(run, n)["champion-predict"].values()]
    level = np.mean([primary(run.unbounded, s) for s in parent])
    lost = 3 * next(read_skills(run)).value - sum(each[1:])
    assert lost == pytest.approx(log_odds(0.0, parent[0].items) - level, abs=0.5)
    assert lost < min(each)
    run.scores_of.pop(plans[0])
    for role in ("train", "predict", "champion-train", "champion-predict"):
        del run.facts.results[plans[0], role, 0]
    assert next(read_skills(run)).value == pytest.approx(sum(each[1:]) / 2)


def test_what_stood_when_the_plan_was_used_is_the_gain_of_every_campaign(tmp_path, go):
    cfg, _, _ = study(
        tmp_path,
        go,
        "self,random",
        "study.generations=8",
        "study.plan_trainings=50",
        "study.repeats=2",
    )
    found, told = read_records([tmp_path / "runs" / "t"]), measure([tmp_path / "runs" / "t"])
    assert told["equal plan, CPU-seconds"] >= 50 * cfg.task.planned_cpu_us / 1e6
    for arm in ("self", "random"):
        closing = [
            [g.value for g in found.gains if (g.arm, g.repeat) == (arm, r)][-1] for r in (0, 1)
        ]
        assert (
            told["arms"][arm]["gain"]["value"] == pytest.approx(sum(closing) / 2)
            and min(closing) > 0
        )


def test_an_elasticity_compares_the_ends_of_campaigns_of_which_one_had_more(
    tmp_path, go, monkeypatch
):
    def seed_of(running, replicate):  # of its plan, so that the arms' figures differ
        return replicate_seed(running.secret, replicate.planned.digest, replicate.seed_number)

    for place in (measure_jobs, measure_replicate):
        monkeypatch.setattr(place, "seed_of", seed_of)
    arms = ",".join(("self", *MORE))
    study(tmp_path, go, arms, "study.generations=8", "study.plan_trainings=60", "study.repeats=2")
    given: list[tuple[float, dict[str, float]]] = []
    monkeypatch.setattr(
        instruments_raised,
        "elasticities",
        lambda base, raised, by, doubling: (
            given.append((base.mean(), {k: v.mean() for k, v in raised.items()}, by))
            or {"compute": missing("not measured")}
        ),
    )
    found = read_records([tmp_path / "runs" / "t"])
    moved = np.mean(found.levels[LONGER]) - np.mean(found.levels["self"])
    told = measure([tmp_path / "runs" / "t"])["arms"]
    ends = {
        arm: (
            sum([g.value for g in found.gains if (g.arm, g.repeat) == (arm, r)][-1] for r in (0, 1))
            / 2
        )
        for arm in ("self", *MORE)
    }
    (base, raised, by), *more = given
    # Two proposals become three.
    assert by == {"compute": 1.25, "proposals": 1.5, "replicates": 1.25}
    assert not more and base == pytest.approx(ends["self"]) == pytest.approx(
        raised.pop("reviewer speed")
    )  # nobody was waited for
    assert (
        raised
        == {
            things[0]: pytest.approx(ends[arm] + moved * (arm == LONGER))
            for arm, things in MORE.items()
            if arm != BOTH
        }
        and len({base, *raised.values()}) == 4
    )
    square = ends[BOTH] - ends[LONGER] - ends["more_proposals"] + ends["self"]
    assert told["self"]["compute x proposals"]["value"] == pytest.approx(square)
    assert {arm: told[arm]["gain"]["value"] for arm in ends} == {
        arm: pytest.approx(v) for arm, v in ends.items()
    }


def test_where_nothing_is_carried_on_an_accept_stands_alone(tmp_path, go):
    study(
        tmp_path,
        go,
        "no_carry",
        "study.generations=3",
        quality=lambda order: {1: 0.5, 2: 0.1, 3: 0.6, 4: 0.7}[order.recipe.depth],
    )
    found, folder = read_records([tmp_path / "runs" / "t"]), tmp_path / "runs" / "t"
    accepted = [
        n
        for n, v in read_facts(folder).verdicts.items()
        if v.answer == "accept" and read_facts(folder).plans[n].purpose == "candidate"
    ]
    values = [g.value for g in found.gains]
    assert len(accepted) == 3 and values[1] < 1.6 * values[0]  # a sum would be twice the first
    held, last = (
        {h.rung: h.value for h in found.held["no_carry"]},
        max(found.plans["no_carry"], key=lambda p: (p.generation, p.fate == "accepted")),
    )
    run = Run(0, Ledger.at(folder))
    assert (
        held["gate"]
        == pytest.approx(pair_gain(run, last.plan, run.unbounded))
        == pytest.approx(held["closing"], rel=0.3)
    )  # and no sum of three


def test_nothing_of_gate_is_told_before_the_end(tmp_path, go):
    cfg = config(tmp_path, *MANY, "study.arms=[self,random]", "study.skill_proposals=2")
    mandate(cfg)

    def breaking(execution):
        if execution.role == "propose" and seen(execution).champion_score is None:
            raise RuntimeError("the power went")  # in the first measure of skill
        return writing(execution)

    with pytest.raises(RuntimeError):
        go(cfg, FakeBox(better, breaking))
    found = read_records([tmp_path / "runs" / "t"])
    assert found.skills == () and found.gains == () and set(found.tops.values()) == {()}


SIGN = (
    "+study.warning={repeats: 1, floor: -9, automation: {propose: 0.9, deploy: 0.5},"
    " cpu_seconds: 1}"
)


def test_a_sign_without_deployment_is_not_evaluable_and_holds_nothing(tmp_path, go):
    cfg, _, _ = study(tmp_path, go, "self", "study.skill_proposals=2", SIGN.replace("+", "++"))
    told = [e.body for e in entries(cfg) if e.kind == "warning"]
    assert (
        len(told) == 1
        and told[0]["automation of deploy"] == told[0]["sign"] == "not evaluable"
        and told[0]["self effect"] == "crossed"
    )


def test_a_crossed_sign_pauses_the_study_and_opens_an_incident_until_people_resume(
    tmp_path, go, monkeypatch
):
    cfg = config(
        tmp_path, *MANY, "study.arms=[self]", "study.skill_proposals=2", SIGN.replace("+", "++")
    )
    mandate(cfg)
    monkeypatch.setattr(
        session,
        "warning",
        lambda sign, skills, events: {"sign": "crossed", "self effect": "crossed"},
    )
    with pytest.raises(Stopped, match="warning sign"):
        go(cfg, FakeBox(better, writing))
    kinds = [e.kind for e in entries(cfg)]
    assert "end" not in kinds and kinds.count("warning") == 1
    assert next(e.body for e in entries(cfg) if e.kind == "incident")["detector"] == "warning sign"
    gate = gate_of(cfg)
    assert gate.refresh().memory.halt == "pause"
    control.order(gate.ledger, "resume", "user x", "seen")
    assert go(cfg, FakeBox(better, writing))["finished"]
    assert [e.kind for e in entries(cfg)].count("warning") == 1  # it is read once


def test_a_sign_without_deployment_in_its_vector_is_refused(tmp_path):
    with pytest.raises(BadInput, match="a vector that includes deploy"):
        config(
            tmp_path,
            *MANY,
            "study.arms=[self]",
            "++study.warning={repeats: 1, floor: 0, automation: {train: 1}, cpu_seconds: 1}",
        )
