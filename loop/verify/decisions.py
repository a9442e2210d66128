"""Every decision of a ledger, taken again by the rules in force at its entry.

Each entry is checked against the facts before it, at its recorded time. The gate's own functions
check it. A ledger written by something else does not pass, even with whole hashes. Examples are a
yes against the rules, a grant beyond its plan, and a start without a grant or while halted. So are
a champion, deployment or amendment without a decision.

Two facts cannot be known afterwards and are left out. A key may have been revoked at the time. A
study's own gate may have answered from a file never named here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from configs.entries import (
    AmendedEntry,
    AmendmentEntry,
    ApprovalEntry,
    ChampionEntry,
    ControlEntry,
    DecisionEntry,
    DeployEntry,
    Entry,
    LookEntry,
    MandateEntry,
    PlanEntry,
    ReleaseEntry,
    RollbackEntry,
    StudyEntry,
    by_entry,
)
from configs.errors import HeirloopError, VerificationFailed
from configs.records import PublicHalf
from loop.verify import plans, work
from loop.verify.heads import Rests, check_rests
from loop.verify.inputs import NOTED
from loop.verify.state import Replay, need
from sandbox import budget, charges
from sandbox.canonical import digest
from sandbox.decision import policy, unix
from sandbox.gate import admit, decide, flaw, fold, mandate, pass_or_raise
from sandbox.gate import grant as grants
from sandbox.gate.memory import Memory
from sandbox.ledger import Ledger
from sandbox.store import Store

OTHER_DECISIONS = "it names other decisions than those that it rests on"


def rederive(ledger: Ledger, store: Store, rests: Rests) -> Replay:
    """Check every entry of a ledger in turn; return its facts, balances, limits and findings.

    `rests` are what signed heads tell of the accounts; each is held to the balances at its entry.
    """
    entries = ledger.entries()
    replay = Replay(memory=Memory(rules=policy(entries[:1])), store=store)
    for facts in by_entry(entries):
        for entry in facts:
            check_entry(replay, entry)
        check_rests(rests, facts[0].sequence, replay.balances)
    return replay


def check_entry(replay: Replay, entry: Entry) -> None:
    """Check an entry against all before it and add it; raises VerificationFailed."""
    try:
        now = unix(entry)
        need(now >= replay.now, "its time lies before that of the entry before")
        replay.now, replay.sequence = now, entry.sequence
        if entry.kind in charges.RESERVING and (reserved := charges.reservation(entry.fact)):
            work.check_reserve(replay, reserved)
        if entry.kind in charges.SETTLING and (settled := charges.settlement(entry.fact)):
            work.check_settle(replay, settled)
        check = CHECKS.get(entry.kind)
        if check:
            check(replay, entry.fact)
        fold.fold(replay.memory, entry)
        charges.move(replay.balances, entry)
        if entry.kind in NOTED:
            replay.recorded.note(entry.fact)
    except HeirloopError as error:
        raise VerificationFailed(f"{_name(entry)}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
        malformed = f"it is malformed ({type(error).__name__})"
        raise VerificationFailed(f"{_name(entry)}: {malformed}") from None


def _name(entry: Entry) -> str:
    return f"entry {entry.sequence} ({entry.kind})"


def _check_plan(replay: Replay, fact: PlanEntry) -> None:
    plan, rules = fact.plan, replay.memory.rules
    need(fact.digest not in replay.memory.plans, "the plan was recorded before")
    need(
        (plan.study, plan.version) == (rules.study, rules.version),
        "the plan is for another study or version of it",
    )
    need(plan.objective == rules.objective, "the plan was made for another objective")


def _check_amendment(replay: Replay, fact: AmendmentEntry) -> None:
    replay.amendments[fact.digest] = fact.amendment


def _check_mandate(replay: Replay, fact: MandateEntry) -> None:
    need(fact.digest not in replay.memory.mandates, "the mandate was recorded before")
    envelope = fact.envelope.encode()
    mandate = admit.check_mandate(replay.memory, replay.moment(), envelope)
    need(
        (digest(envelope), mandate) == (fact.digest, fact.mandate),
        "the mandate does not match what was signed",
    )
    whole = replay.memory.rules.config.budget.amount()
    replay.limits[grants.account(fact.digest)] = budget.mandate_limit(mandate.caps, whole)


def _check_approval(replay: Replay, fact: ApprovalEntry) -> None:
    need(fact.digest not in replay.memory.approvals, "the approval was recorded before")
    envelope = fact.envelope.encode()
    approval = admit.check_approval(replay.memory, replay.moment(), envelope)
    need(
        (digest(envelope), approval) == (fact.digest, fact.approval),
        "the approval does not match what was signed",
    )
    if approval.change_class == replay.memory.subjects[approval.plan].classes[0]:
        account = grants.account(fact.digest)
        replay.limits[account] = grants.spendable(approval.requested)
        replay.before_retries[account] = approval.requested


def _check_decision(replay: Replay, fact: DecisionEntry) -> None:
    if not fact.allow:
        return
    memory, question = replay.memory, (fact.plan, fact.change_class)
    if fact.plan in memory.plans and fact.change_class == memory.plans[fact.plan].change_class:
        before = replay.decisions.get(question, [])
        # What a yes rests on may lapse; then other signatures let the plan pass anew.
        anew = memory.rules.format > 1 and all(yes.by != fact.by for yes in before)
        need(not before or anew, "the plan was let pass before")
        for finds, expect in ((flaw.EVER, need), (flaw.SINCE_2, replay.expect)):
            reason = flaw.find_first(memory, replay.store, fact.plan, finds)
            expect(not reason, reason)
        reason = plans.find_flaw(memory, memory.plans[fact.plan])
        replay.expect(not reason, reason)
    earlier = _list_earlier(memory, fact)
    used_up = mandate.find_used_up(memory, replay.balances) & set(earlier) if earlier else set()
    moment = replace(replay.moment(), revoked=_passed_over(replay, fact), used_up=used_up)
    by = pass_or_raise(decide.decide(memory, moment, *question))
    need(
        decide.write_yes(memory, *question, by) == fact, "the rules in force gave another decision"
    )
    replay.decisions.setdefault(question, []).append(fact)


def _list_earlier(memory: Memory, fact: DecisionEntry) -> list[str]:
    """Return the mandates before the named one; an approval has none before it."""
    if fact.authority not in memory.mandates:
        return []
    return list(takewhile(lambda name: name != fact.authority, memory.mandates))


def _passed_over(replay: Replay, fact: DecisionEntry) -> set[str]:
    """Return the keys of the standing mandates before the named one: they may have been revoked.

    No entry says when a key was revoked. A key that signed the named mandate was none of them.
    """
    mandates, earlier = replay.memory.mandates, _list_earlier(replay.memory, fact)
    own = {mandates[fact.authority].public} if earlier else set()
    return {mandates[name].public for name in earlier} - own


def _check_champion(replay: Replay, fact: ChampionEntry) -> None:
    plan = replay.memory.plans[fact.plan]
    if plan.purpose == "baseline":
        question = (fact.plan, plan.change_class)
        need(replay.decisions.get(question), "the baseline was not let pass")
        return
    replay.use_decision(fact.plan, "promote")
    need(replay.verdicts.get(fact.plan) == "accept", "the plan has no verdict that accepts it")


def _check_deploy(replay: Replay, fact: DeployEntry) -> None:
    decision = replay.use_decision(fact.plan, "deploy")
    need(decision.by == fact.by, OTHER_DECISIONS)


def _check_act(replay: Replay, fact: ReleaseEntry | RollbackEntry) -> None:
    decision = replay.use_decision(fact.plan, fact.kind)
    need(decision.by == fact.by, OTHER_DECISIONS)


def _check_look(replay: Replay, fact: LookEntry) -> None:
    need(
        fact.split != "sealed" or replay.decisions.get((fact.plan, "unseal")),
        "sealed was opened, and nobody decided on it",
    )
    plan, config = replay.memory.plans.get(fact.plan), replay.memory.rules.config
    if plan is not None:
        replay.looks[plan.repeat, fact.split] += 1
        share = config.budget.looks.share(fact.split, plan.repeat, config.study.repeats)
        used = replay.looks[plan.repeat, fact.split]
        within = f"repeat {plan.repeat} has {share} looks at {fact.split}, and this is look {used}"
        replay.expect(used <= share, within, edition=3)


def _check_amended(replay: Replay, fact: AmendedEntry) -> None:
    amendment = replay.amendments[fact.amendment]
    decision = replay.use_decision(fact.amendment, "amend")
    need(decision.by == fact.by, OTHER_DECISIONS)
    need(
        (fact.version, fact.config, fact.decided, fact.reviewers, fact.ahead_seconds)
        == (
            amendment.version,
            amendment.config,
            amendment.decided,
            amendment.reviewers,
            amendment.ahead_seconds,
        ),
        "it is not what people decided on",
    )
    _check_reviewers(replay, fact.reviewers)
    replay.cuts.clear()  # people set every limit anew
    version = replay.memory.rules.version + 1
    need(fact.version == version, f"its version is {fact.version}; it should be {version}")


def _check_study(replay: Replay, fact: StudyEntry) -> None:
    replay.edition = max(fact.rules, fact.format)
    work.check_limits(replay, fact)
    _check_reviewers(replay, fact.reviewers)


def _check_reviewers(replay: Replay, reviewers: Sequence[PublicHalf]) -> None:
    publics = {half.public for half in reviewers}
    replay.expect(len(publics) == len(reviewers), "it pins a key twice, under two names")


def _check_control(replay: Replay, fact: ControlEntry) -> None:
    memory = replay.memory
    need(
        fact.what != "resume" or memory.may_resume(),
        "the study went on without the reviewers that it names",
    )
    need(fact.what != "drill" or memory.drillable(), "a drill on a study that people hold")


CHECKS: dict[str, Callable[[Replay, Any], None]] = {
    "study": _check_study,
    "plan": _check_plan,
    "amendment": _check_amendment,
    "mandate": _check_mandate,
    "approval": _check_approval,
    "decision": _check_decision,
    "grant": work.check_grant,
    "start": work.check_start,
    "node": work.check_node,
    "job": work.check_job,
    "fault": work.check_fault,
    "call": work.check_call,
    "answer": work.check_answer,
    "verdict": work.check_verdict,
    "champion": _check_champion,
    "deploy": _check_deploy,
    "release": _check_act,
    "rollback": _check_act,
    "amended": _check_amended,
    "limit": work.check_limits,
    "control": _check_control,
    "account": work.check_account,
    "end": work.check_end,
    "look": _check_look,
}
"""Check of each kind of entry, before the entry counts."""
