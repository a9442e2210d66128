"""Selection on proposing skill: who contends, who is chosen, what nobody may learn from it."""

import json
import random
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import fabricated
import pytest
from fakes import FakeBox, outcome, read_history
from studies import mandate, page_of

from configs.arms import CONTENDERS
from configs.build import parse, strict_json
from configs.entries import SelectionEntry, facts_of
from configs.errors import BadInput, VerificationFailed
from configs.history import History
from configs.job import Order
from loop import cycle, session
from loop.export import redact
from loop.facts.facts import Facts
from loop.facts.places import SELECTING, Invalid
from loop.facts.summary import make_summary
from loop.instruments.gains import read_skills
from loop.instruments.losses import read_plans
from loop.instruments.measure import measure
from loop.instruments.run import Run
from loop.propose import selection
from loop.propose.skill import draw_parents
from loop.settings import compose_settings
from loop.study.tabulated import TabulatedBox
from loop.verify import recompute
from loop.verify.run import verify
from loop.verify.selections import check_selections
from sandbox.gate import Gate, flaw
from sandbox.ledger import Ledger
from sandbox.store import Store

RUN = Path("runs/t")
KEPT: list[Path] = []
"""The folder of the study that was run once."""
ROLES = ("predict", "champion-predict")
TABLE = [
    "study=tabulated",
    "study.name=t",
    "study.arms=[self_skill,skill_placebo]",
    "study.repeats=1",
    "study.generations=4",
    "study.proposals=3",
    "study.start_trials=8",
    "study.confirm_replicates=6",
    "study.skill_proposals=2",
    "study.skill_parents=2",
    "study.skill_cells=[self,refit]",
    "objective.skill={every: 2, asks: 2}",
    "objective.acceptance=paired_t",
    "objective.alpha=0.5",
    "objective.minimum_effect=0.2",
    "task.table=fabricated-v1.parquet",
]


pytestmark = pytest.mark.usefixtures("beside_a_table")


def proposals(history):
    """Return the new recipes within the change limit of the champion, best first, as knobs."""
    tried = {trial.recipe for trial in history.trials} | set(history.barred)
    found = []
    for name, values in history.grid.items():
        for other, choices in history.grid.items():
            for value in values:
                for second in choices:
                    recipe = replace(history.champion, **{name: value})
                    recipe = replace(recipe, **{other: second})
                    if recipe not in tried and recipe != history.champion:
                        found.append(recipe)
    ranked = sorted(dict.fromkeys(found), key=fabricated.level_bits)
    names = list(history.grid)
    return [
        {n: getattr(one, n) for n in names if getattr(one, n) != getattr(history.champion, n)}
        for one in ranked
    ]


def skilled(execution):
    """Write as weights do that propose well if their recipe has learned positions."""
    if execution.role != "propose":
        return None
    history = read_history(execution)
    recipe = parse(Order, strict_json(execution.files["job.json"])).recipe
    ranked = proposals(history)
    ranked = ranked if recipe.position == "learned" else ranked[::-1]
    lines = [json.dumps({"hypothesis": "h", "knobs": one}) for one in ranked[: history.count]]
    return outcome(files={"proposals.jsonl": "\n".join(lines).encode()})


def play(go, write=skilled, *more):
    config = compose_settings([*TABLE, *more])
    mandate(config)
    inner = FakeBox(lambda order: 0.5, write)
    assert go(config, TabulatedBox(config, inner), session.execute)["finished"]
    assert verify(RUN)["findings"] == []
    return config, inner, Run(0, Ledger.at(RUN))


@pytest.fixture
def run(go, tmp_path_factory):
    """Return the study, run once for all tests that only read it."""
    if not KEPT:
        play(go)
        KEPT.append(tmp_path_factory.mktemp("kept") / "runs")
        shutil.copytree("runs", KEPT[0])
    else:
        shutil.copytree(KEPT[0], "runs")
    return Run(0, Ledger.at(RUN))


def told(run):
    return list(facts_of(run.entries, SelectionEntry))


def plans_of(run, purpose):
    return {name: plan for name, plan in run.facts.plans.items() if plan.purpose == purpose}


def history_of(name):
    blob, _ = Run(0, Ledger.at(RUN)).facts.shown[name]
    return parse(History, strict_json(Store(RUN / "store").get(blob), limit=10**7))


def test_every_few_generations_the_best_proposer_of_those_not_inferior_becomes_champion(run):
    config = run.config
    chosen = told(run)
    assert {(one.arm, one.generation) for one in chosen} == {
        (arm, generation) for arm in config.arms() for generation in (2, 4)
    }
    for one in chosen:
        key, names = (one.arm, one.repeat), [c.plan for c in one.contenders]
        assert 2 <= len(names) <= CONTENDERS and len(set(names)) == len(names)
        for name in names[1:]:
            plan, verdict = run.facts.plans[name], run.facts.verdicts[name]
            assert (plan.purpose, plan.generation) == ("candidate", one.generation)
            bound = next(c.bound for c in verdict.criteria if c.name == "bits")
            assert verdict.answer == "accept" and bound == -config.objective.minimum_effect
        counted = [c.counted for c in one.contenders]
        assert one.chosen == names[counted.index(max(counted))]
        own = [
            n for n in run.facts.champions[key] if run.facts.plans[n].generation == one.generation
        ]
        assert own == ([one.chosen] if one.chosen != names[0] else [])
        if one.arm == "self_skill":
            assert counted == [c.skill for c in one.contenders]
    ordinary = [
        next(c.bound for c in run.facts.verdicts[name].criteria if c.name == "bits")
        for name, plan in plans_of(run, "candidate").items()
        if name in run.facts.verdicts and plan.generation in (1, 3)
    ]
    assert set(ordinary) == {config.objective.minimum_effect}


def test_the_figures_are_the_mean_gains_of_fresh_proposals_on_feedback(run):
    (one, *_) = told(run)
    for number, contender in enumerate(one.contenders):
        gains = []
        for ask in range(2):
            place = (one.arm, 0, one.generation, SELECTING + 2 * number + ask)
            asking = run.facts.selecting.asks[place]
            plan = run.facts.plans[asking]
            assert plan.recipe == run.facts.plans[contender.plan].recipe
            for name, own in plans_of(run, "select").items():
                if own.asked == asking:
                    both = [run.facts.scores[name, role, 0] for role in ROLES]
                    gains.append(both[1].bits - both[0].bits)
        assert len(gains) == 4 and contender.skill == pytest.approx(sum(gains) / 4)
    names = set(plans_of(run, "select"))
    looked = [split for split, name in run.facts.looked if name in names]
    assert len(looked) == len(names) and set(looked) == {"feedback"}
    splits = {s.split for slot, s in run.facts.scores.items() if slot[0] in names and s}
    assert splits == {"feedback"}


def test_parents_that_select_are_fresh_in_each_generation_and_never_measure(run):
    config = run.config
    by_generation, measuring = {}, set()
    for plan in run.facts.plans.values():
        if plan.purpose == "select":
            by_generation.setdefault((plan.arm, plan.generation), set()).add(plan.reference_recipe)
        elif plan.purpose == "skill":
            measuring.add(plan.reference_recipe)
    assert len(by_generation) == 4 and all(len(own) == 2 for own in by_generation.values())
    assert by_generation["self_skill", 2] != by_generation["self_skill", 4]
    assert by_generation["self_skill", 2] == by_generation["skill_placebo", 2]
    selecting = set().union(*by_generation.values())
    assert measuring and not measuring & selecting
    for number in range(20):
        secret = random.Random(number).randbytes(32)
        sides = [
            {
                parent
                for occasion in ("", ":3", ":6")
                for parent in draw_parents(config.task, secret, use, 4, occasion=occasion)
            }
            for use in ("select", "measure")
        ]
        assert not sides[0] & sides[1]


def test_no_look_that_selects_is_shown_to_any_proposer_or_counted_as_a_trial(run):
    """The enforcement is Facts.selecting: with these plans among the others it fails."""
    check_no_leak(run)


def check_no_leak(run):
    looks = plans_of(run, "select")
    allowed = {
        plan.recipe
        for plan in run.facts.plans.values()
        if plan.purpose in ("start", "baseline", "candidate")
    }
    only = {plan.recipe for plan in looks.values()} - allowed
    assert only, "some looks are at recipes that are no trial"
    asks = [*run.facts.asks.values(), *run.facts.selecting.asks.values()]
    for name in asks:
        history = history_of(name)
        shown = {trial.recipe for trial in history.trials} | set(history.barred)
        assert not shown & only or run.facts.plans[name].generation > run.config.study.generations
    for arm in run.config.arms():
        assert not set(looks) & set(run.facts.trials((arm, 0)))
        assert not set(looks) & {p for _, p in run.proposals_of(arm) if isinstance(p, str)}
        read = read_plans(run, arm)
        candidates = {n for n, p in plans_of(run, "candidate").items() if p.arm == arm}
        assert {fact.plan for fact in read if fact.fate != "invalid"} == candidates
        accepted = {fact.plan for fact in read if fact.fate == "accepted"}
        assert accepted == set(run.facts.champions[arm, 0][1:])
    assert all(row["shown"] is None for row in listed(run) if row["id"] in looks)


def listed(run):
    ledger = Ledger.at(RUN)
    return [row for g in make_summary(ledger, run.facts)["generations"] for row in g["plans"]]


def test_a_history_that_held_looks_would_be_found(go, monkeypatch):
    """The ablation of the test before: looks are folded among the trials."""
    real = Facts.trials

    def leaking(facts, campaign):
        looks = [
            name
            for name in facts.proposed.get(campaign, ())
            if facts.plans[name].purpose == "select"
        ]
        return {**real(facts, campaign), **{name: facts.plans[name] for name in looks}}

    monkeypatch.setattr(Facts, "trials", leaking)
    _, _, run = play(go)
    with pytest.raises(AssertionError):
        check_no_leak(run)


def test_unusable_proposals_of_a_look_count_with_the_floor(go):
    def careless(execution):
        if execution.role != "propose":
            return None
        order = parse(Order, strict_json(execution.files["job.json"]))
        if order.recipe.position == "learned" and read_history(execution).count == 2:
            return outcome(files={"proposals.jsonl": b"no json"})
        return skilled(execution)

    config, _, run = play(go, careless)
    lost = [
        c.skill
        for one in told(run)
        for c in one.contenders
        if run.facts.plans[c.plan].recipe.position == "learned"
    ]
    assert lost and max(lost) < -2, "bits below the parent's score: the floor is 6.6"
    assert not any(place[3] >= SELECTING for place in run.facts.at)
    assert any(isinstance(one, Invalid) for one in run.facts.selecting.at.values())
    assert all(fact.fate != "invalid" for fact in read_plans(run, "self_skill"))
    assert config.objective.floor == 6.6


def test_the_placebo_permutes_by_the_secret_and_nothing_else():
    measured = [0.1, 0.2, None]
    assert selection.count("self_skill", b"s", 3, measured) == measured
    drawn = {
        tuple(selection.count("skill_placebo", bytes([i]) * 32, g, measured))
        for i in range(40)
        for g in (3, 6)
    }
    assert drawn == set(permutations(measured))
    by_generation = {
        tuple(selection.count("skill_placebo", b"s", g, measured)) for g in range(3, 60, 3)
    }
    assert len(by_generation) > 3
    assert (
        selection.find_best([0.1, None, 0.3, 0.3]) == 2 and selection.find_best([None, None]) == 0
    )


def lies(monkeypatch, go, name, lie, words, where=selection):
    monkeypatch.setattr(where, name, lie)
    with pytest.raises(VerificationFailed, match=words):
        play(go)


def test_a_selection_with_other_figures_is_found(go, monkeypatch):
    real = selection.read_skill

    def kinder(*given):
        return (real(*given) or 0) + 0.01 * given[-1]

    lies(monkeypatch, go, "read_skill", kinder, "has not the skill of its scores")


def test_a_selection_of_another_than_the_best_is_found(go, monkeypatch):
    worst = lambda counted: counted.index(min(counted))  # noqa: E731
    lies(monkeypatch, go, "find_best", worst, "has the highest skill")


@pytest.mark.parametrize("arm", ["self_skill", "skill_placebo"])
def test_a_permutation_by_anything_but_the_secret_is_found(go, monkeypatch, arm):
    real = selection.count

    def turned(own, secret, generation, measured):
        counted = real(own, secret, generation, measured)
        return [*counted[1:], counted[0]] if own == arm else counted

    lies(monkeypatch, go, "count", turned, "are not those that the secret gives")


def test_parents_of_the_half_that_measures_are_found(go, monkeypatch):
    def of_the_other_half(config, facts, secret, key, generation):
        return draw_parents(config.task, secret, "measure", 2)

    words = "another parent than the secret draws"
    lies(monkeypatch, go, "list_parents", of_the_other_half, words)


def test_a_champion_that_no_selection_chose_is_found(go, monkeypatch):
    first = lambda campaign, number, able: next(iter(able), None)  # noqa: E731
    lies(monkeypatch, go, "select", first, "no selection on proposing skill chose", cycle)


def test_a_contender_that_is_left_out_is_found(go, monkeypatch):
    few = lambda campaign, number, able: selection.select(campaign, number, able[:1])  # noqa: E731
    lies(monkeypatch, go, "select", few, "are not those not inferior", cycle)


def test_without_the_secret_the_figures_are_checked_all_the_same(go, monkeypatch):
    play(go)
    monkeypatch.setattr(recompute, "find_secret", lambda entries: None)
    assert verify(RUN)["findings"] == []
    entries = Ledger.at(RUN).entries()
    assert check_selections(entries, None) == 4


def test_only_arms_that_select_may_ask_weights_that_are_no_champion_s(run):
    (name, plan) = next(
        (name, plan)
        for name, plan in plans_of(run, "propose").items()
        if name in run.facts.selecting.asks.values()
        and run.facts.plans[plan.parent].purpose == "candidate"
        and plan.parent not in run.facts.crowned
    )
    store = Store(RUN / "store")
    memory = Gate(Ledger.at(RUN), store).refresh().memory
    assert not flaw.find_flaw(memory, store, name)
    for other in (
        {"arm": "self"},
        {"purpose": "select", "change_class": "recipe"},
        {"purpose": "candidate", "change_class": "recipe"},
    ):
        memory.plans["other"] = replace(plan, **other)
        assert "which is no champion" in flaw.find_flaw(memory, store, "other"), other
    look = next(iter(plans_of(run, "select")))
    assert memory.subjects[look].classes == ("recipe",), "no look can be promoted or deployed"


def test_looks_cost_and_the_compute_counts_in_their_generation(run):
    config = run.config
    asked = [p for p in plans_of(run, "propose").values() if p.index >= SELECTING]
    for arm in config.arms():
        count = sum(plan.arm == arm and plan.generation == 2 for plan in asked)
        looks = sum(p.arm == arm and p.generation == 2 for p in plans_of(run, "select").values())
        trained = run.facts.trainings[arm, 0]
        assert trained[2] >= trained[1] + 2 * count + 2 * looks - 24 and count >= 4
        spent = run.planned_us
        assert spent[arm, 0, 2] > spent[arm, 0, 1] + 2 * looks * config.task.planned_cpu_us - 24e6
    assert run.facts.looks[0, "feedback"] == 8 + 2 * (1 + 4 * 3) + len(plans_of(run, "select"))


def test_levels_are_shared_by_all_judgements(run):
    config = run.config
    assert config.confirmations("self_skill") == 4 + 2 and config.confirmations("self") == 4
    for arm in config.arms():
        levels = run.facts.levels[arm, 0]
        assert 4 < len(levels) <= 6 and levels == pytest.approx([0.5 / 6] * len(levels))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("objective.skill=null", "objective.skill is None; it should be given in a study with arm"),
        ("study.arms=[self]", "null in a study without arm self_skill or skill_placebo"),
        ("study.skill_proposals=0", "study.skill_proposals is 0; it should be at least 1"),
        ("study.skill_parents=0", "study.skill_parents is 0; it should be at least 1"),
        ("objective.skill.every=5", "every is 5; it should be at most study.generations 4"),
        ("objective.skill.asks=7", "asks is 7; it should be at most an eighth of the 48 recipes"),
        ("objective.skill.asks=0", "asks is 0; it should be between 1 and 100"),
        ("objective.minimum_effect=0", "minimum_effect is 0.0; it should be above 0 with skill"),
        ("study.skill_cells=[self]", "it should be empty, or self, refit and others of"),
        ("budget.looks.feedback=81", "at least the 82 looks that the study plans"),
    ],
)
def test_a_selection_that_cannot_be_held_is_refused(override, words):
    with pytest.raises(BadInput) as error:
        compose_settings([*TABLE, override])
    assert words in str(error.value), str(error.value)


def test_an_export_of_a_running_study_shows_no_skill_that_selects(run):
    entries = [e for e in Ledger.at(RUN).entries() if e.kind != "end"]
    carried = redact.close_entries(entries)
    hidden = [e.fact for e in carried.entries if e.kind == "selection"]
    assert len(hidden) == 4 and {c.skill for one in hidden for c in one.contenders} == {None}
    open_ = redact.close_entries(Ledger.at(RUN).entries())
    assert all(e.place not in open_.closed for e in open_.entries if e.kind == "selection")


def test_the_figures_of_arms_that_select_stand_under_amplify_and_no_selecting_skill_does(run):
    figures = measure([RUN])["between"]["amplify"]
    assert set(figures) == {"self_skill", "skill_placebo", "self_skill minus skill_placebo"}
    for arm in ("self_skill", "skill_placebo"):
        assert set(figures[arm]) == {
            "self effect",
            "data effect",
            "placebo effect",
            "gain minus refit",
            "amplifying",
        }
        own, first = (
            skill.value for skill in read_skills(run, arm) if skill.history and not skill.scrambled
        )
        assert figures[arm]["self effect"]["value"] == pytest.approx(own - first)
    apart = figures["self_skill minus skill_placebo"]["self effect"]["value"]
    each = [figures[arm]["self effect"]["value"] for arm in ("self_skill", "skill_placebo")]
    assert apart == pytest.approx(each[0] - each[1])
    page = page_of(RUN)
    assert "amplify, self_skill, self effect" in page
    shown = json.dumps(measure([RUN])) + page
    assert not any(str(c.skill) in shown for one in told(run) for c in one.contenders)
    assert [*read_skills(run)] == []
