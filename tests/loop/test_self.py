"""The loop closed on itself: the champion's weights propose, every arm starts from one notebook."""

import json

import pytest
from fakes import FakeBox, outcome
from studies import better, config, entries, gate_of, mandate, page_of, read_facts

from configs.build import parse, strict_json
from configs.errors import BadInput, BudgetExhausted, NeedsHuman
from configs.history import History
from configs.records import Caps
from loop.verify.run import verify
from sandbox.budget import balances
from sandbox.canonical import digest
from sandbox.ledger import Ledger

SELF = [
    "study.arms=[self,random]",
    "task.notebook=true",
    "study.start_trials=16",
    "budget.jobs=1000",
    "gates.unattended.jobs=1000",
]
WIDE, DEEP = (
    {"hypothesis": "a", "knobs": {"batch_size": 128}},
    {"hypothesis": "b", "knobs": {"depth": 3}},
)


def proposing(lines):
    """A script of the fake box: propose jobs that write what a function of the number of the job
    says.
    """
    asked = []

    def script(execution):
        if execution.role != "propose":
            return None
        asked.append(execution)
        return outcome(
            files={"proposals.jsonl": "\n".join(map(json.dumps, lines(len(asked)))).encode()}
        )

    script.asked = asked
    return script


def study(tmp_path, go, lines=lambda n: [WIDE, DEEP], quality=better, *more):
    cfg = config(tmp_path, *SELF, *more)
    mandate(cfg)
    script = proposing(lines)
    assert go(cfg, FakeBox(quality, script))["finished"]
    return cfg, script.asked, read_facts(tmp_path / "runs" / "t")


def seen(execution):
    return parse(History, strict_json(execution.files["history.json"], limit=10**7))


def test_the_champion_s_screened_weights_propose_and_each_plan_names_who_wrote_it(tmp_path, go):
    _, asked, facts = study(tmp_path, go)
    champions = facts.champions["self", 0]
    assert (
        len(asked) == 2 and len(champions) == 2
    )  # the baseline, then `depth 3` or the larger batch
    first, second = (digest(e.files["weights.safetensors"]) for e in asked)
    weights = [
        facts.results[name, "train", 0][0].outputs["weights.safetensors"] for name in champions
    ]
    assert (
        [
            first,
            second,
        ]
        == weights
    )  # generation 1 was written by the baseline's weights, generation 2 by its successor's
    written = [p for p in facts.plans.values() if p.arm == "self" and p.purpose == "candidate"]
    assert {p.asked for p in written} == set(facts.asks.values()) and all(
        facts.plans[p.asked].generation == p.generation for p in written
    )
    assert all(not p.asked for p in facts.plans.values() if p.arm == "random")
    verify(tmp_path / "runs" / "t")


def test_every_arm_starts_from_one_notebook_that_the_study_pays_for(tmp_path, go):
    _, asked, facts = study(tmp_path, go)
    start = [p for p in facts.plans.values() if p.purpose == "start"]
    assert len(start) == 16 and len({digest(p.recipe) for p in start}) == 16
    assert [t.recipe for t in seen(asked[0]).trials[:16]] == [
        p.recipe for p in sorted(start, key=lambda p: p.repeat)
    ]
    spent = Ledger.at(tmp_path / "runs" / "t").read(balances)
    jobs = {
        name: spent[name]["jobs"]["spent"]
        for name in ("root", "arm start", "arm self", "arm random")
    }
    assert jobs["arm start"] == 32 and jobs["root"] == sum(jobs.values()) - jobs["root"]
    books = {p.notebook for p in facts.plans.values() if p.purpose == "baseline"}
    assert len(books) == 1 and "" not in books  # both baselines learn from the same notebook


def test_the_report_draws_the_start_as_trials_and_the_arms_by_their_champion(tmp_path, go):
    study(tmp_path, go)
    page = page_of(tmp_path / "runs" / "t")
    assert (
        page.count(">start: trials<") == 1
        and "start: champion" not in page
        and page.count(">self: champion<") == 1
    )


def test_a_proposer_sees_the_start_and_its_own_campaign_and_no_other(tmp_path, go):
    _, asked, facts = study(tmp_path, go)
    mine = {digest(p.recipe) for p in facts.plans.values() if p.arm in ("self", "start")}
    told = {digest(t.recipe) for t in seen(asked[1]).trials}
    assert told <= mine and len(seen(asked[1]).trials) == 16 + 1 + 2


def test_nothing_is_promoted_or_deployed_from_a_propose_plan_or_a_start(tmp_path, go):
    cfg, _, facts = study(tmp_path, go)
    gate = gate_of(cfg)
    for name, plan in facts.plans.items():
        classes = set(gate.memory.subjects[name].classes)
        leads_on = plan.purpose in ("baseline", "candidate", "final")
        assert classes & {"promote", "deploy"} == ({"promote", "deploy"} if leads_on else set())
    assert {"propose", "start"} <= {plan.purpose for plan in facts.plans.values()}


def test_asking_needs_its_own_class_at_the_gate(tmp_path, go):
    cfg = config(tmp_path, *SELF)
    mandate(cfg, caps=Caps(classes=("recipe", "promote"), jobs=1000, cpu_seconds=900, hours=24))
    script = proposing(lambda n: [WIDE, DEEP])
    with pytest.raises(NeedsHuman, match="propose"):
        go(cfg, FakeBox(better, script))
    assert script.asked == []


def test_a_box_that_always_writes_the_same_repeats_a_trial_and_nothing_breaks(tmp_path, go):
    _, _, facts = study(tmp_path, go, lambda n: [WIDE, WIDE], lambda order: 0.5)
    assert (
        len([p for p in facts.plans.values() if p.arm == "self" and p.purpose == "candidate"]) >= 2
    )


def test_missing_and_malformed_lines_are_recorded_invalid_proposals(tmp_path, go):
    cfg, _, _ = study(tmp_path, go, lambda n: [{"knobs": {"charm": 1}}])
    reasons = [e.body["reason"] for e in entries(cfg) if e.kind == "invalid"]
    assert (
        len(reasons) == 4
        and any("charm" in r or "hypothesis" in r for r in reasons)
        and any("1 proposals were written" in r for r in reasons)
    )


def test_a_budget_too_small_for_one_proposal_stops_before_it_is_spent(tmp_path, go):
    cfg = config(
        tmp_path, *SELF, "+budget.shares={propose: 0.01}"
    )  # nine CPU-seconds, and a propose job may take twenty
    mandate(cfg)
    script = proposing(lambda n: [WIDE, DEEP])
    with pytest.raises(BudgetExhausted, match="propose"):
        go(cfg, FakeBox(better, script))
    spent = Ledger.at(tmp_path / "runs" / "t").read(balances)["propose"]["cpu_us"]
    assert script.asked == [] and spent["spent"] + spent["reserved"] <= spent["limit"]


@pytest.mark.parametrize("given", ["study.start_trials=7", "task.notebook=false"])
def test_weights_need_a_notebook_to_propose_from(tmp_path, given):
    with pytest.raises(BadInput, match=r"notebook=true and study\.start_trials of at least 8"):
        config(tmp_path, *SELF, given)
