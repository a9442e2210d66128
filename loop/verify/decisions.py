"""Every decision of a ledger, taken again by the rules in force at its entry.

Each entry is checked against the facts before it, at its recorded time, by the functions that the
gate itself calls. A ledger that something else wrote does not pass, even with whole hashes: a yes
that the rules did not allow, a grant beyond its plan, a start without a grant or while halted, a
champion, deployment or amendment without a decision.

Two things cannot be known afterwards and are left out: whether a key was revoked at the time, and
the answer of a study's own gate if its file was never named here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from configs.build import parse, plain
from configs.entries import Entry
from configs.errors import HeirloopError, VerificationFailed
from configs.records import Amount, Call, Grant, Job, ModelReply
from sandbox import budget, call, own
from sandbox.canonical import digest
from sandbox.decision import policy, unix
from sandbox.gate import admit, decide, fold, launch, pass_or_raise
from sandbox.gate import grant as grants
from sandbox.gate.memory import Memory, Moment
from sandbox.ledger import Ledger
from sandbox.run import accounts, allowed
from sandbox.store import Store


@dataclass(slots=True, kw_only=True)
class Replay:
    """A recorded ledger up to an entry: the gate's memory, and facts that only a check needs."""

    memory: Memory
    "facts that the gate decides by"
    store: Store
    "stored bytes of the run"
    now: float = 0.0
    "unix seconds of the entry, the clock of all checks"
    decisions: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    "yes decisions that no act has used up, by (subject, class)"
    granted: dict[str, Grant] = field(default_factory=dict)
    "grants whose job has no result, by nonce"
    slots: set[str] = field(default_factory=set)
    "places that were granted"
    running: set[str] = field(default_factory=set)
    "nonces of jobs and calls that run"
    started: set[str] = field(default_factory=set)
    "nonces of jobs and calls that began"
    limits: dict[str, Amount] = field(default_factory=dict)
    "limit that each account must have"
    accounts: set[str] = field(default_factory=set)
    "accounts that were opened"
    reserved: dict[str, tuple[list[str], Any]] = field(default_factory=dict)
    "accounts and amount of each reservation that is not settled"
    spent: dict[str, Any] = field(default_factory=dict)
    "settled amount of each call that has no answer yet"
    calls: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    "plan, index and digest of each question that has no answer yet"
    amendments: dict[str, dict[str, Any]] = field(default_factory=dict)
    "proposed amendments, by digest"
    verdicts: dict[str, str] = field(default_factory=dict)
    "answer of the verdict on a plan"
    ended: bool = False
    "the study has its end"

    def moment(self) -> Moment:
        """Return the facts besides the ledger: its time, no revoked key, the own gate if known."""
        return Moment(now=self.now, revoked=(), store=self.store, own_refusal=self.own_refusal)

    def own_refusal(self, subject: str, change_class: str) -> str:
        """Ask the study's own gate again where this user named its file.

        Code that a run brings along is not run.
        """
        if not own.known(self.memory.rules.config.gates.file_digest):
            return ""
        return decide.ask_own_gate(self.memory, subject, change_class)

    def use_decision(self, subject: str, change_class: str) -> dict[str, Any]:
        """Return the decision that an act rests on and use it up; raises VerificationFailed."""
        decisions = self.decisions.get((subject, change_class))
        if not decisions:
            raise VerificationFailed(
                f"it rests on no decision of class {change_class} on {subject[:12]}"
            )
        return decisions.pop()


def check_entry(replay: Replay, entry: Entry) -> None:
    """Check an entry against all before it and add it; raises VerificationFailed."""
    try:
        need(unix(entry) >= replay.now, "its time lies before that of the entry before")
        replay.now = unix(entry)
        check = CHECKS.get(entry.kind)
        if check:
            check(replay, entry.body)
        fold.fold(replay.memory, entry)
    except HeirloopError as error:
        raise VerificationFailed(f"{_name(entry)}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
        malformed = f"it is malformed ({type(error).__name__})"
        raise VerificationFailed(f"{_name(entry)}: {malformed}") from None


def _name(entry: Entry) -> str:
    return f"entry {entry.sequence} ({entry.kind})"


def need(ok: object, otherwise: str) -> None:
    """Raise VerificationFailed unless `ok`."""
    if not ok:
        raise VerificationFailed(otherwise)


def _study(replay: Replay, body: dict[str, Any]) -> None:
    replay.limits |= budget.study_limits(
        replay.memory.rules.config.budget, replay.memory.rules.config.payers()
    )


def _plan(replay: Replay, body: dict[str, Any]) -> None:
    whole = body["plan"]
    need(digest(whole) == body["digest"], "the plan does not match its digest")
    need(body["digest"] not in replay.memory.plans, "the plan was recorded before")
    need(
        (whole["study"], whole["version"])
        == (replay.memory.rules.root, replay.memory.rules.version),
        "the plan is for another study or version of it",
    )
    need(
        whole["objective"] == digest(replay.memory.rules.config.objective),
        "the plan was made for another objective",
    )


def _amendment(replay: Replay, body: dict[str, Any]) -> None:
    replay.amendments[body["digest"]] = body["amendment"]


def _mandate(replay: Replay, body: dict[str, Any]) -> None:
    need(body["digest"] not in replay.memory.mandates, "the mandate was recorded before")
    given = admit.check_mandate(replay.memory, replay.moment(), body["envelope"].encode())
    need(
        (digest(body["envelope"].encode()), plain(given)) == (body["digest"], body["mandate"]),
        "the mandate does not match what was signed",
    )
    replay.limits[grants.account(body["digest"])] = budget.mandate_limit(
        given.caps, replay.memory.rules.config.budget.amount()
    )


def _approval(replay: Replay, body: dict[str, Any]) -> None:
    need(body["digest"] not in replay.memory.approvals, "the approval was recorded before")
    given = admit.check_approval(replay.memory, replay.moment(), body["envelope"].encode())
    need(
        (digest(body["envelope"].encode()), plain(given)) == (body["digest"], body["approval"]),
        "the approval does not match what was signed",
    )
    if given.change_class == replay.memory.subjects[given.plan].classes[0]:
        replay.limits[grants.account(body["digest"])] = given.requested


def _decision(replay: Replay, body: dict[str, Any]) -> None:
    if not body["allow"]:
        return
    name, change_class, memory = body["plan"], body["class"], replay.memory
    if name in memory.plans and change_class == memory.plans[name].change_class:
        need((name, change_class) not in replay.decisions, "the plan was let pass before")
        flaw = grants.find_flaw(memory, replay.store, name)
        need(not flaw, flaw)
    decision = decide.decide(memory, replay.moment(), name, change_class)
    yes = decide.write_yes(memory, name, change_class, pass_or_raise(decision))
    need(yes == body, "the rules in force gave another decision")
    replay.decisions.setdefault((name, change_class), []).append(body)


def _grant(replay: Replay, body: dict[str, Any]) -> None:
    grant = parse(Grant, body["grant"])
    plan = replay.memory.plans[grant.plan]
    said = replay.decisions.get((grant.plan, plan.change_class))
    need(said and said[-1]["authority"] == grant.authority, "the grant rests on no decision")
    most = {job.role: job.count for job in plan.jobs}
    need(0 <= grant.index < most.get(grant.role, 0), "the plan has no such job")
    need(
        grants.slot(grant) not in replay.slots and grant.nonce not in replay.granted,
        "that job was granted before",
    )
    replay.slots.add(grants.slot(grant))
    replay.granted[grant.nonce] = grant


def _start(replay: Replay, body: dict[str, Any]) -> None:
    grant, job = parse(Grant, body["grant"]), parse(Job, body["job"])
    need(
        replay.granted.get(grant.nonce) == grant and grant.nonce not in replay.running,
        "a job began without a grant of its own",
    )
    need(digest(job) == body["digest"], "the job does not match its digest")
    need(
        allowed(replay.memory.plans[grant.plan], job, grant, replay.memory.rules.config),
        "the job is not the one that its grant allows",
    )
    launch.check_launch(replay.memory, grant, replay.now, ())
    replay.running.add(grant.nonce)
    replay.started.add(grant.nonce)


def _job(replay: Replay, body: dict[str, Any]) -> None:
    need(body["nonce"] in replay.running, "a result of a job that never began, or a second one")
    replay.granted.pop(body["nonce"])
    replay.running.discard(body["nonce"])


def _call(replay: Replay, body: dict[str, Any]) -> None:
    grant, request = parse(Grant, body["grant"]), parse(Call, body["call"])
    need(
        replay.granted.get(grant.nonce) == grant and grant.nonce not in replay.running,
        "an outside model was asked without a grant of its own",
    )
    need(digest(request) == body["digest"], "the question does not match its digest")
    plan = replay.memory.plans[grant.plan]
    need(
        call.allowed(plan, request, grant, replay.memory.rules.config),
        "the question is not the one that its grant allows",
    )
    need(
        call.exact(request, replay.store.get(request.body)),
        "the stored question is not one of this endpoint",
    )
    need(
        replay.reserved.get(grant.nonce) == (list(accounts(grant, plan)), plain(request.worst())),
        "its worst case was not reserved",
    )
    launch.check_launch(replay.memory, grant, replay.now, ())
    replay.running.add(grant.nonce)
    replay.started.add(grant.nonce)
    replay.calls[grant.nonce] = (request.plan, request.index, body["digest"])


def _answer(replay: Replay, body: dict[str, Any]) -> None:
    _job(replay, body)
    answer = parse(ModelReply, body["answer"])
    need(
        replay.calls.pop(body["nonce"], None) == (body["plan"], body["index"], body["digest"]),
        "it answers another question",
    )
    need(
        replay.spent.pop(body["nonce"], None) == plain(answer.charged),
        "what it charges was not settled",
    )
    need(
        bool(answer.text) == (answer.status in ("ok", "breach")),
        f"an answer with status {answer.status} and text {answer.text[:12]!r}",
    )


def _verdict(replay: Replay, body: dict[str, Any]) -> None:
    need(body["plan"] not in replay.verdicts, "the plan has a verdict")
    replay.verdicts[body["plan"]] = body["verdict"]["answer"]


def _champion(replay: Replay, body: dict[str, Any]) -> None:
    plan = replay.memory.plans[body["plan"]]
    if plan.purpose == "baseline":
        need(
            replay.decisions.get((body["plan"], plan.change_class)), "the baseline was not let pass"
        )
        return
    replay.use_decision(body["plan"], "promote")
    need(replay.verdicts.get(body["plan"]) == "accept", "the plan has no verdict that accepts it")


def _reserve(replay: Replay, body: dict[str, Any]) -> None:
    need(
        body["key"] not in replay.reserved and body["key"] not in replay.started,
        "that was reserved before",
    )
    replay.reserved[body["key"]] = (body["accounts"], body["amount"])


def _settle(replay: Replay, body: dict[str, Any]) -> None:
    need(
        replay.reserved.pop(body["key"], None) == (body["accounts"], body["released"]),
        "it settles what was not reserved",
    )
    if body["key"] in replay.calls:
        replay.spent[body["key"]] = body["spent"]


def _account(replay: Replay, body: dict[str, Any]) -> None:
    need(body["name"] not in replay.accounts, "the account was opened before")
    replay.accounts.add(body["name"])


def _end(replay: Replay, body: dict[str, Any]) -> None:
    need(not replay.ended, "the study ended before")
    replay.ended = True


def _deploy(replay: Replay, body: dict[str, Any]) -> None:
    need(
        replay.use_decision(body["plan"], "deploy")["by"] == body["by"],
        "it names other decisions than those that it rests on",
    )


def _look(replay: Replay, body: dict[str, Any]) -> None:
    need(
        body["split"] != "sealed" or replay.decisions.get((body["plan"], "unseal")),
        "sealed was opened, and nobody decided on it",
    )


def _amended(replay: Replay, body: dict[str, Any]) -> None:
    told = replay.amendments[body["amendment"]]
    need(
        replay.use_decision(body["amendment"], "amend")["by"] == body["by"],
        "it names other decisions than those that it rests on",
    )
    need(
        all(body[key] == told[key] for key in ("version", "config", "decided", "reviewers")),
        "it is not what people decided on",
    )
    need(
        body["version"] == replay.memory.rules.version + 1,
        f"its version is {body['version']}; it should be {replay.memory.rules.version + 1}",
    )


def _limit(replay: Replay, body: dict[str, Any]) -> None:
    replay.limits |= budget.study_limits(
        replay.memory.rules.config.budget, replay.memory.rules.config.payers()
    )


def _control(replay: Replay, body: dict[str, Any]) -> None:
    need(
        body["what"] != "resume" or replay.memory.may_resume(),
        "the study went on without the reviewers that it names",
    )
    need(
        body["what"] != "drill" or replay.memory.drillable(), "a drill on a study that people hold"
    )


CHECKS: dict[str, Callable[[Replay, dict[str, Any]], None]] = {
    "study": _study,
    "plan": _plan,
    "amendment": _amendment,
    "mandate": _mandate,
    "approval": _approval,
    "decision": _decision,
    "grant": _grant,
    "start": _start,
    "job": _job,
    "call": _call,
    "answer": _answer,
    "verdict": _verdict,
    "champion": _champion,
    "deploy": _deploy,
    "amended": _amended,
    "limit": _limit,
    "control": _control,
    "reserve": _reserve,
    "settle": _settle,
    "account": _account,
    "end": _end,
    "look": _look,
}
"""What is asked of an entry of each kind before it counts."""


def rederive(ledger: Ledger, store: Store) -> dict[str, Amount]:
    """Check every entry of a ledger in turn; return the limit that each account must have."""
    entries = ledger.entries()
    replay = Replay(memory=Memory(rules=policy(entries[:1])), store=store)
    for entry in entries:
        check_entry(replay, entry)
    return replay.limits
