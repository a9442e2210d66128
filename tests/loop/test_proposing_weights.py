"""Weights that propose on a table: really trained, once a question, and charged with it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import fabricated
import pytest
from conftest import need_box
from fakes import FakeBox, outcome
from safetensors.numpy import load
from studies import mandate, page_of

from configs.build import parse, strict_json
from configs.errors import BadInput, BudgetExhausted, HeirloopError, VerificationFailed
from configs.history import History
from configs.job import Order
from evals.data import draw_train
from evals.table import World
from loop import session
from loop.export.verify import verify_export
from loop.export.write import export
from loop.facts.reader import FactsReader
from loop.instruments.measure import measure
from loop.instruments.run import Run
from loop.instruments.truth import measure_truth
from loop.measure import replicate
from loop.settings import compose_settings
from loop.study.tab_file import secret_of
from loop.study.tabulated import TabulatedBox
from loop.verify.run import verify
from sandbox.box.namespace import NamespaceBox
from sandbox.budget import balances
from sandbox.canonical import digest
from sandbox.ledger import Ledger
from sandbox.store import Store

RUN = Path("runs/t")
SELF = [
    "study=tabulated",
    "study.name=t",
    "study.arms=[self]",
    "study.repeats=1",
    "study.generations=2",
    "study.proposals=2",
    "study.start_trials=16",
    "study.confirm_replicates=6",
]
LINES = (
    b'{"hypothesis":"a","knobs":{"learning_rate":0.005}}\n{"hypothesis":"b","knobs":{"depth":2}}'
)


pytestmark = pytest.mark.usefixtures("beside_a_table")


def config(*overrides):
    made = compose_settings([*SELF, "task.table=fabricated-v1.parquet", *overrides])
    mandate(made)
    return made


def writing(script=lambda execution: None):
    """Return a box that computes nothing: weights from the seed, the same two proposals."""

    def answer(execution):
        made = script(execution)
        if made is None and execution.role == "propose":
            return outcome(files={"proposals.jsonl": LINES})
        return made

    return FakeBox(lambda order: 0.5, answer)


def run(cfg, go, inner):
    return go(cfg, TabulatedBox(cfg, inner), session.execute)


def facts():
    return FactsReader(Ledger.at(RUN)).facts()


def questions(found):
    return [result for (_, role, _), (result, _) in found.results.items() if role == "propose"]


def order_of(execution):
    return parse(Order, strict_json(execution.files["job.json"]))


def reasons():
    return [e.body["reason"] for e in Ledger.at(RUN).entries() if e.kind == "invalid"]


@pytest.mark.parametrize("arm", ["self", "refit", "scrambled"])
def test_the_weights_of_the_asked_plan_are_trained_on_its_notebook_and_then_propose(go, arm):
    inner = writing()
    run(config(f"study.arms=[{arm}]"), go, inner)
    assert [execution.role for execution in inner.ran] == ["train", "propose"] * 2
    found, table, store = (
        facts(),
        fabricated.fabricate(seeds=2, notebook=True),
        Store(RUN / "store"),
    )
    asks = [found.plans[name] for _, name in sorted(found.asks.items())]
    for asked, train, propose in zip(asks, inner.ran[::2], inner.ran[1::2], strict=True):
        plan, order = found.plans[asked.parent], order_of(train)
        assert (order.recipe, order.steps) == (plan.recipe, plan.steps)
        recorded = next(
            e.fact.job.order
            for e in Ledger.at(RUN).entries()
            if e.kind == "start" and (e.fact.job.plan, e.fact.job.role) == (asked.parent, "train")
        )
        assert (
            order.seed == recorded.seed and replace(order.task, held_out=400) == table.task.format()
        )
        assert train.files["notebook.safetensors"] == store.get(plan.notebook)
        rows = draw_train(table.task.format(), secret_of(table.name), order.seed)
        assert (load(train.files["data.safetensors"])["items"] == rows).all()
        assert rows.shape == (4000, 65)
        assert (
            "notebook.safetensors" not in propose.files and order_of(propose).steps == asked.steps
        )
        assert len(load(propose.files["weights.safetensors"])["w"]) > 1000
    history = parse(History, strict_json(inner.ran[1].files["history.json"], limit=10**7))
    assert history.most_changes == 2 and len(history.trials) >= 16
    weights = {digest(execution.files["weights.safetensors"]) for execution in inner.ran[1::2]}
    assert len(found.champions[arm, 0]) > 1
    assert len(weights) == len({asked.parent for asked in asks}) == (1 if arm == "refit" else 2)
    assert verify(RUN)["findings"] == []


def test_a_measure_of_skill_trains_the_weights_of_each_of_its_cells(go):
    inner = writing()
    run(config("study.skill_proposals=1"), go, inner)
    found = facts()
    asks = [found.plans[name] for _, name in sorted(found.asks.items())]
    assert [execution.role for execution in inner.ran] == ["train", "propose"] * len(asks)
    for asked, train in list(zip(asks, inner.ran[::2], strict=True))[2:]:
        assert order_of(train).recipe == asked.reference_recipe
        assert digest(train.files["notebook.safetensors"]) == asked.notebook
    assert len(asks) == 2 + 4 and verify(RUN)["findings"] == []


@pytest.mark.parametrize("tier", ["B", "C"])
def test_the_root_tells_the_real_box_and_a_core_is_named_where_its_time_is_charged(go, tier):
    inner = writing()
    inner.tier, inner.fell_back = tier, "user namespaces are closed"
    run(config("study.generations=1"), go, inner)
    root = Ledger.at(RUN).entries()[0].fact
    assert (root.proposers_in, root.tier) == (f"fake box, tier {tier}", "T: tabulated")
    assert root.fell_back == inner.fell_back
    assert ({execution.cpu for execution in inner.ran} == {None}) is (tier == "B")


def test_a_question_is_charged_as_both_of_its_jobs_and_all_else_as_recorded(go):
    cfg, inner = config(), writing()
    result = run(cfg, go, inner)
    found = facts()
    assert {(r.charged.cpu_us, r.charged_by) for r in questions(found)} == {(200_000, "cgroup")}
    others = {r.charged_by for (_, role, _), (r, _) in found.results.items() if role != "propose"}
    assert others == {"table"} and (result["tier"], result["box"]) == ("T: tabulated", "table")
    spent = Ledger.at(RUN).read(balances)["propose"]
    assert (spent["cpu_us"]["spent"], spent["jobs"]["spent"]) == (400_000, 2)
    first, second = (execution.limits for execution in inner.ran[:2])
    assert first == cfg.budget.propose
    assert second.cpu_us == first.cpu_us - 100_000 and second.wall_us == first.wall_us - 100_000
    assert verify(RUN)["findings"] == []


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (outcome("program", "exit 1"), "program: training of the weights that propose: exit 1"),
        (outcome("limit", "cpu"), "limit: training of the weights that propose: cpu"),
        (outcome(files={"weights.safetensors": b"junk"}), "weights.safetensors is malformed"),
    ],
)
def test_weights_that_fail_to_train_are_failed_proposals_and_charged(go, made, why):
    inner = writing(lambda execution: made if execution.role == "train" else None)
    assert run(config(), go, inner)["finished"]
    assert len(reasons()) == 4 and all(why in reason for reason in reasons())
    assert [execution.role for execution in inner.ran] == ["train", "train"]
    assert {r.charged.cpu_us for r in questions(facts())} == {100_000}


def test_a_budget_without_room_for_a_question_refuses_it_before_any_training(go):
    inner = writing()
    with pytest.raises(BudgetExhausted, match="propose"):
        run(config("+budget.shares.propose=0.00001"), go, inner)
    assert inner.ran == []


def test_without_a_real_box_nothing_is_proposed(go):
    with pytest.raises(HeirloopError, match="was lost 3 times by the box"):
        run(config(), go, None)
    assert not any(plan.purpose == "candidate" for plan in facts().plans.values())


def test_a_stop_reaches_the_real_box():
    inner = writing()
    TabulatedBox(config(), inner).stop()
    assert inner.stopped


def test_an_export_of_such_a_run_is_verified_though_it_closes_the_seed_in_an_order(go, tmp_path):
    run(config("study.generations=1"), go, writing())
    export([RUN], tmp_path / "out")
    starts = [entry for entry in Ledger.at(RUN).entries() if entry.kind == "start"]
    assert verify_export(tmp_path / "out")["closed entries"] == len(starts)


def test_verify_finds_weights_of_another_training(go, monkeypatch):
    def other(*args):
        return replace(real(*args), seed=7)

    real = replicate.make_order
    monkeypatch.setattr(replicate, "make_order", other)
    run(config(), go, writing())
    with pytest.raises(VerificationFailed, match=r"training\.json is not what was recorded"):
        verify(RUN)


def test_a_table_without_a_notebook_and_a_propose_job_without_compute_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"at least 600000: the job trains the weights"):
        config("budget.propose.cpu_us=500000")
    fabricated.write(tmp_path)
    with pytest.raises(BadInput, match=r"baseline\.notebook and chance_rows above 0"):
        config()


def test_real_weights_propose_on_a_table_and_the_study_repeats_after_a_kill_too(
    go, box_env, monkeypatch
):
    """The proposals are the same bytes in a second run, and in a run that was killed."""

    class Killed(BaseException):
        """Stands for a process that ends at once."""

    def real():
        return need_box(lambda: NamespaceBox(box_env))

    seen, cfg = [], config("task.fixed={notebook: 0.1}")
    for killed in (False, True):
        box = TabulatedBox(cfg, real())
        if killed:
            answer, asked = box.run, []

            def dies(execution, answer=answer, asked=asked):
                asked.append(execution.role)
                if asked.count("propose") == 2:
                    raise Killed
                return answer(execution)

            monkeypatch.setattr(box, "run", dies)
            with pytest.raises(Killed):
                go(cfg, box, session.execute)
            box = TabulatedBox(cfg, real())
        assert go(cfg, box, session.execute)["finished"]
        found, page = facts(), page_of(RUN)
        seen.append((found.plans, found.scores, found.verdicts, _written()))
        assert verify(RUN)["findings"] == [] and "Tier T" in page
        assert "really trained, once a question, in a namespace box, tier" in page
        shutil.rmtree("runs")
    assert seen[0] == seen[1]
    made = [plan for plan in seen[0][0].values() if plan.purpose == "candidate"]
    assert made and all(1 <= len(plan.changed) <= 2 for plan in made)
    assert not any("notebook" in plan.changed for plan in made)


def _written():
    results = [result for result in questions(facts()) if result.status == "ok"]
    return [result.outputs["proposals.jsonl"] for result in results]


MORE = "study.arms=[self,more_compute,more_proposals,more_both]"


def half_listed(execution):
    """Write a proposal with a level of four times the compute, and another without."""
    if execution.role != "propose":
        return None
    knobs = [{"learning_rate": 0.005}, {"depth": 2, "notebook": 0.1}] * 2
    lines = [json.dumps({"hypothesis": "h", "knobs": one}) for one in knobs]
    return outcome(files={"proposals.jsonl": "\n".join(lines).encode()})


def test_more_compute_is_a_larger_level_of_the_table_for_both_sides(go):
    """Half of the recipes have that level: others fail as unlisted, and the figures say so."""
    cfg = config(
        MORE,
        "study.raised={compute: 4, proposals: 2}",
        "study.larger_replicates=4",
    )
    run(cfg, go, writing(half_listed))
    found, told = facts(), measure([RUN])["arms"]
    world, planned = World(fabricated.fabricate(seeds=2, notebook=True)), cfg.task.planned_cpu_us
    wide, levels = ("more_compute", "more_both"), set()
    for entry in Ledger.at(RUN).entries():
        if entry.kind == "start" and entry.fact.job.role == "champion-train":
            plan, order = found.plans[entry.fact.job.plan], entry.fact.job.order
            levels.add((plan.arm, plan.purpose, world.level(order.recipe, order.steps)))
    for purpose in ("candidate", "final"):
        assert {(arm, purpose, 4.0 if arm in wide else 1.0) for arm in told} <= levels
    larger = {level for level in levels if level[1] == "larger"}
    assert larger == {(arm, "larger", 4.0) for arm in told if arm not in wide}
    assert {p.planned_cpu_us // planned for p in found.plans.values() if p.arm in wide} == {4}
    shares = {arm: told[arm]["unlisted"]["value"] for arm in told}
    # The first line changes nothing any more in generation 2, so it is trained there no more.
    assert shares == {arm: pytest.approx(2 / 3) if arm in wide else 0 for arm in told}
    assert told["self"]["compute x proposals"]["word"] == "cannot tell"
    assert told["self"]["four times as long"]["listed"]["n"] == 1
    truth = measure_truth([Run(0, Ledger.at(RUN))])["arms"]["more_compute"]["gain"]
    assert truth["measured"]["value"] == pytest.approx(truth["true"]["value"], abs=0.06)
    once = [world.score(found.plans[n].recipe) for n in found.champions["more_compute", 0]]
    assert truth["true"]["value"] != pytest.approx(once[0] - once[-1], abs=1e-6)
    assert verify(RUN)["findings"] == []


@pytest.mark.parametrize("more", [[], ["study.raised={compute: 2}"]])
def test_a_level_that_the_table_lacks_is_refused_with_a_sentence(more):
    with pytest.raises(
        BadInput, match=r"study\.raised\.compute is (1\.25|2\.0); .*more_compute: 4"
    ):
        config(MORE, *more)
