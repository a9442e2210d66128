"""Checks of recorded work: grants, jobs, calls, accounts and the end of a study.

Each function checks a single entry against the facts before it; raises VerificationFailed.
"""

from configs.arms import variant
from configs.entries import (
    AccountEntry,
    AnswerEntry,
    CallEntry,
    EndEntry,
    FaultEntry,
    GrantEntry,
    JobEntry,
    LimitEntry,
    NodeEntry,
    ReserveEntry,
    SettleEntry,
    StartEntry,
    StudyEntry,
    VerdictEntry,
)
from configs.records import AGENT, NOTES, Amount, Grant, Job, Plan, module_of
from loop.verify import inputs
from loop.verify.state import Replay, need
from sandbox import budget, call, keys, quota
from sandbox.canonical import digest
from sandbox.gate import grant as grants
from sandbox.gate import launch
from sandbox.node import read_receipt
from sandbox.run import allowed, worst_case


def check_limits(replay: Replay, fact: StudyEntry | LimitEntry) -> None:
    config = replay.memory.rules.config
    limits = budget.study_limits(config.budget, config.payers(), config.gates.unattended)
    if replay.memory.rules.format == 1:
        del limits[budget.UNATTENDED]
    for name, cpu_us in replay.cuts.items():
        limits[name] = quota.lower(limits[name], cpu_us)
    replay.limits |= limits


def check_fault(replay: Replay, fact: FaultEntry) -> None:
    """Take a quota cut off its account; loop/verify/faults.py holds it against the secret."""
    if fact.fault == "quota":
        account = budget.arm_account(fact.arm)
        replay.cuts[account] = replay.cuts.get(account, 0) + fact.size
        replay.limits[account] = quota.lower(replay.limits[account], fact.size)


def check_account(replay: Replay, fact: AccountEntry) -> None:
    need(fact.name not in replay.accounts, "the account was opened before")
    replay.accounts.add(fact.name)
    # Before edition 3 an approval paid each job once.
    if fact.limit == replay.before_retries.get(fact.name) and replay.edition < 3:
        replay.limits[fact.name] = fact.limit


def check_reserve(replay: Replay, fact: ReserveEntry) -> None:
    is_new = fact.key not in replay.reserved and fact.key not in replay.started
    need(is_new, "that was reserved before")
    replay.reserved[fact.key] = (fact.accounts, fact.amount)


def check_settle(replay: Replay, fact: SettleEntry) -> None:
    reserved = replay.reserved.pop(fact.key, None)
    need(reserved == (fact.accounts, fact.released), "it settles what was not reserved")
    if fact.key in replay.calls:
        replay.spent[fact.key] = fact.spent


def check_grant(replay: Replay, fact: GrantEntry) -> None:
    """Check a grant of format 1, which stands in the ledger before its job starts."""
    grant = fact.grant
    plan = replay.memory.plans[grant.plan]
    decisions = replay.decisions.get((grant.plan, plan.change_class))
    need(replay.memory.rules.format == 1, "only a ledger of format 1 has grants without a start")
    need(decisions and decisions[-1].authority == grant.authority, "the grant rests on no decision")
    counts = {job.role: job.count for job in plan.jobs}
    need(0 <= grant.index < counts.get(grant.role, 0), "the plan has no such job")
    slot = f"{grant.plan}:{grant.role}:{grant.index}:{grant.attempt}"
    need(
        slot not in replay.slots and grant.nonce not in replay.granted,
        "that job was granted before",
    )
    replay.slots.add(slot)
    replay.granted[grant.nonce] = grant


def check_start(replay: Replay, fact: StartEntry) -> None:
    grant, job, memory = fact.grant, fact.job, replay.memory
    plan = memory.plans[grant.plan]
    need(_is_unused(replay, grant), "a job began without a grant of its own")
    need(digest(job) == fact.digest, "the job does not match its digest")
    need(
        allowed(plan, job, grant, memory.rules.config),
        "the job is not the one that its grant allows",
    )
    _check_reserved(replay, grant, worst_case(job))
    base = memory.campaigns[plan.arm, plan.repeat][0]
    flaw = inputs.find_flaw(replay.recorded, plan, job, base)
    replay.expect(not flaw, flaw)
    if plan.purpose == "propose":
        _check_notes(replay, plan, job)
    _launch(replay, grant)


def _check_notes(replay: Replay, plan: Plan, job: Job) -> None:
    """Check that a bundle's notes are those that the campaign's last agent left, or was given."""
    memory, store = replay.memory, replay.store
    campaign = memory.campaigns[plan.arm, plan.repeat]
    earlier = campaign[: campaign.index(job.plan)]
    asked = [name for name in earlier if memory.plans[name].purpose == "propose"]
    right = ""
    passed_on = module_of(plan, job.role) == AGENT and not variant(plan.arm).programs
    if asked and passed_on:
        given = store.manifest(memory.plans[asked[-1]].bundle).get(NOTES, "")
        right = replay.recorded.notes.get(asked[-1], given)
    notes = store.manifest(plan.bundle).get(NOTES, "")
    need(notes == right, "its notes are not those that its agent left")


def _is_unused(replay: Replay, grant: Grant) -> bool:
    """Tell whether a grant of format 1 was issued and is unused; the launch checks the others."""
    if replay.memory.rules.format > 1:
        return grant.nonce not in replay.started
    is_issued = replay.granted.get(grant.nonce) == grant
    return is_issued and grant.nonce not in replay.running


def _check_reserved(replay: Replay, grant: Grant, amount: Amount) -> None:
    payers = grants.payers(replay.memory, grant)
    need(replay.reserved.get(grant.nonce) == (payers, amount), "its worst case was not reserved")


def _launch(replay: Replay, grant: Grant) -> None:
    launch.check_launch(replay.memory, grant, replay.now, ())
    replay.running.add(grant.nonce)
    replay.started.add(grant.nonce)


def check_node(replay: Replay, fact: NodeEntry) -> None:
    replay.nodes.add(fact.node.node)


def check_job(replay: Replay, fact: JobEntry | AnswerEntry) -> None:
    need(fact.nonce in replay.running, "a result of a job that never began, or a second one")
    replay.granted.pop(fact.nonce, None)
    replay.running.discard(fact.nonce)
    if isinstance(fact, JobEntry) and fact.result.receipt:
        _check_receipt(replay, fact)


def _check_receipt(replay: Replay, fact: JobEntry) -> None:
    """Check that a job's record is what its node signed; of a killed job only the CPU-time is."""
    result = fact.result
    signed = replay.store.get(result.receipt)
    node = str(keys.payload_unchecked(signed).get("node"))
    need(node in replay.nodes, "its receipt is of a node that did not join the study")
    receipt = read_receipt(signed, node)
    need((receipt.nonce, receipt.job) == (fact.nonce, fact.digest), "its receipt is another job's")
    same = (
        receipt.cpu_us == result.charged.cpu_us
        if result.killed
        else (receipt.result(result.receipt) == result)
    )
    need(same, "it is not what its node signed")


def check_call(replay: Replay, fact: CallEntry) -> None:
    grant, request = fact.grant, fact.call
    need(_is_unused(replay, grant), "an outside model was asked without a grant of its own")
    need(digest(request) == fact.digest, "the question does not match its digest")
    plan = replay.memory.plans[grant.plan]
    need(
        call.allowed(plan, request, grant, replay.memory.rules.config),
        "the question is not the one that its grant allows",
    )
    need(
        call.exact(request, replay.store.get(request.body)),
        "the stored question is not one of this endpoint",
    )
    _check_reserved(replay, grant, request.worst())
    _launch(replay, grant)
    replay.calls[grant.nonce] = (request.plan, request.index, fact.digest)


def check_answer(replay: Replay, fact: AnswerEntry) -> None:
    check_job(replay, fact)
    reply = fact.answer
    question = replay.calls.pop(fact.nonce, None)
    need(question == (fact.plan, fact.index, fact.digest), "it answers another question")
    need(replay.spent.pop(fact.nonce, None) == reply.charged, "what it charges was not settled")
    need(
        bool(reply.text) == (reply.status in ("ok", "breach")),
        f"an answer with status {reply.status} and text {reply.text[:12]!r}",
    )


def check_verdict(replay: Replay, fact: VerdictEntry) -> None:
    need(fact.plan not in replay.verdicts, "the plan has a verdict")
    replay.verdicts[fact.plan] = fact.verdict.answer


def check_end(replay: Replay, fact: EndEntry) -> None:
    need(not replay.ended, "the study ended before")
    replay.ended = True
