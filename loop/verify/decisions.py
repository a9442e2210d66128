"""Every decision of a ledger, taken again: the rules in force at each entry, on what was recorded
before it, at its recorded time.

A ledger that was written by something else than the gate, with whole hashes, does not pass: a
decision that the rules did not allow, a grant beyond its plan, a start without one or while halted,
a champion, deployment or amendment that nobody decided on. What cannot be known afterwards is left
out: whether a key was revoked at the time, and what an own gate says whose file was never named
here.
"""

from collections.abc import Callable
from typing import Any

from configs.build import parse, plain
from configs.entries import Entry
from configs.errors import HeirloopError, VerificationFailed
from configs.records import Amount, Call, Grant, Job, ModelReply
from sandbox import budget, call, own
from sandbox.canonical import digest
from sandbox.decision import unix
from sandbox.gate import Gate, account, slot
from sandbox.ledger import Ledger, Transaction
from sandbox.run import accounts, allowed
from sandbox.store import Store


class Replay(Gate):
    """A gate that stands at one entry of a recorded ledger: it reads nothing ahead, and its clock
    is the record's.
    """

    def __init__(self, ledger: Ledger, store: Store) -> None:
        super().__init__(ledger, store)
        self.at = 0.0
        self.open: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.granted: dict[str, Grant] = {}
        self.slots: set[str] = set()
        self.running: set[str] = set()
        self.limits: dict[str, Amount] = {}
        self.amendments: dict[str, dict[str, Any]] = {}
        self.verdicts: dict[str, str] = {}
        self.reserved: dict[str, tuple[list[str], Any]] = {}
        self.started: set[str] = set()
        self.spent: dict[str, Any] = {}
        self.calls: dict[str, tuple[str, int, str]] = {}
        self.accounts: set[str] = set()
        self.ended = False

    def refresh(self, txn: Transaction | None = None) -> "Replay":
        """Read nothing: entries are added one by one."""
        return self

    def now(self) -> float:
        """Return the recorded time."""
        return self.at

    def dead(self) -> set[str]:
        """Return no key: when one was revoked is not in the ledger."""
        return set()

    def own_refusal(self, subject: str, change_class: str) -> str:
        """Ask the study's own gate again, where this user named its file; code that a run brings
        along is not run.
        """
        return (
            super().own_refusal(subject, change_class)
            if own.known(self.rules.config.gates.file_digest)
            else ""
        )

    def step(self, entry: Entry) -> None:
        """Check one entry against all before it and add it; raises VerificationFailed, which names
        it.
        """
        try:
            need(unix(entry) >= self.at, "its time lies before that of the entry before")
            self.at = unix(entry)
            CHECKS.get(entry.kind, _nothing)(self, entry.body)
            self.fold(entry)
        except (
            HeirloopError,
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            AssertionError,
        ) as error:
            said = (
                str(error)
                if isinstance(error, HeirloopError)
                else f"it is malformed ({type(error).__name__})"
            )
            raise VerificationFailed(f"entry {entry.sequence} ({entry.kind}): {said}") from None

    def spend(self, subject: str, change_class: str) -> dict[str, Any]:
        """Return the decision that an act rests on, and use it up; raises where there is none."""
        found = self.open.get((subject, change_class))
        if not found:
            raise VerificationFailed(
                f"it rests on no decision of class {change_class} on {subject[:12]}"
            )
        return found.pop()


def need(ok: object, otherwise: str) -> None:
    """Raise VerificationFailed unless `ok`."""
    if not ok:
        raise VerificationFailed(otherwise)


def _nothing(r: Replay, body: dict[str, Any]) -> None:
    pass


def _study(r: Replay, body: dict[str, Any]) -> None:
    r.limits |= budget.study_limits(r.rules.config.budget, r.rules.config.payers())


def _plan(r: Replay, body: dict[str, Any]) -> None:
    whole = body["plan"]
    need(digest(whole) == body["digest"], "the plan does not match its digest")
    need(body["digest"] not in r.plans, "the plan was recorded before")
    need(
        (whole["study"], whole["version"]) == (r.rules.root, r.rules.version),
        "the plan is for another study or version of it",
    )
    need(
        whole["objective"] == digest(r.rules.config.objective),
        "the plan was made for another objective",
    )


def _amendment(r: Replay, body: dict[str, Any]) -> None:
    r.amendments[body["digest"]] = body["amendment"]


def _mandate(r: Replay, body: dict[str, Any]) -> None:
    need(body["digest"] not in r.mandates, "the mandate was recorded before")
    given = r.check_mandate(body["envelope"].encode())
    need(
        (digest(body["envelope"].encode()), plain(given)) == (body["digest"], body["mandate"]),
        "the mandate does not match what was signed",
    )
    r.limits[account(body["digest"])] = budget.mandate_limit(
        given.caps, r.rules.config.budget.amount()
    )


def _approval(r: Replay, body: dict[str, Any]) -> None:
    need(body["digest"] not in r.approvals, "the approval was recorded before")
    given = r.check_approval(body["envelope"].encode())
    need(
        (digest(body["envelope"].encode()), plain(given)) == (body["digest"], body["approval"]),
        "the approval does not match what was signed",
    )
    if given.change_class == r.subjects[given.plan].classes[0]:
        r.limits[account(body["digest"])] = given.requested


def _decision(r: Replay, body: dict[str, Any]) -> None:
    if not body["allow"]:
        return
    name, what = body["plan"], body["class"]
    if name in r.plans and what == r.plans[name].change_class:
        need((name, what) not in r.open, "the plan was let pass before")
        r.sound(r.plans[name], name)
    need(
        r.decision(name, what, r.authority(name, what)) == body,
        "the rules in force gave another decision",
    )
    r.open.setdefault((name, what), []).append(body)


def _grant(r: Replay, body: dict[str, Any]) -> None:
    grant = parse(Grant, body["grant"])
    plan = r.plans[grant.plan]
    said = r.open.get((grant.plan, plan.change_class))
    need(said and said[-1]["authority"] == grant.authority, "the grant rests on no decision")
    most = {job.role: job.count for job in plan.jobs}
    need(0 <= grant.index < most.get(grant.role, 0), "the plan has no such job")
    need(slot(grant) not in r.slots and grant.nonce not in r.granted, "that job was granted before")
    r.slots.add(slot(grant))
    r.granted[grant.nonce] = grant


def _start(r: Replay, body: dict[str, Any]) -> None:
    grant, job = parse(Grant, body["grant"]), parse(Job, body["job"])
    need(
        r.granted.get(grant.nonce) == grant and grant.nonce not in r.running,
        "a job began without a grant of its own",
    )
    need(digest(job) == body["digest"], "the job does not match its digest")
    need(
        allowed(r.plans[grant.plan], job, grant, r.rules.config),
        "the job is not the one that its grant allows",
    )
    r.ready(grant, r.at)
    r.running.add(grant.nonce)
    r.started.add(grant.nonce)


def _job(r: Replay, body: dict[str, Any]) -> None:
    need(body["nonce"] in r.running, "a result of a job that never began, or a second one")
    r.granted.pop(body["nonce"])
    r.running.discard(body["nonce"])


def _call(r: Replay, body: dict[str, Any]) -> None:
    grant, request = parse(Grant, body["grant"]), parse(Call, body["call"])
    need(
        r.granted.get(grant.nonce) == grant and grant.nonce not in r.running,
        "an outside model was asked without a grant of its own",
    )
    need(digest(request) == body["digest"], "the question does not match its digest")
    plan = r.plans[grant.plan]
    need(
        call.allowed(plan, request, grant, r.rules.config),
        "the question is not the one that its grant allows",
    )
    need(
        call.exact(request, r.store.get(request.body)),
        "the stored question is not one of this endpoint",
    )
    need(
        r.reserved.get(grant.nonce) == (list(accounts(grant, plan)), plain(request.worst())),
        "its worst case was not reserved",
    )
    r.ready(grant, r.at)
    r.running.add(grant.nonce)
    r.started.add(grant.nonce)
    r.calls[grant.nonce] = (request.plan, request.index, body["digest"])


def _answer(r: Replay, body: dict[str, Any]) -> None:
    _job(r, body)
    answer = parse(ModelReply, body["answer"])
    need(
        r.calls.pop(body["nonce"], None) == (body["plan"], body["index"], body["digest"]),
        "it answers another question",
    )
    need(
        r.spent.pop(body["nonce"], None) == plain(answer.charged), "what it charges was not settled"
    )
    need(
        bool(answer.text) == (answer.status in ("ok", "breach")),
        f"an answer with status {answer.status} and text {answer.text[:12]!r}",
    )


def _verdict(r: Replay, body: dict[str, Any]) -> None:
    need(body["plan"] not in r.verdicts, "the plan has a verdict")
    r.verdicts[body["plan"]] = body["verdict"]["answer"]


def _champion(r: Replay, body: dict[str, Any]) -> None:
    plan = r.plans[body["plan"]]
    if plan.purpose == "baseline":
        need(r.open.get((body["plan"], plan.change_class)), "the baseline was not let pass")
        return
    r.spend(body["plan"], "promote")
    need(r.verdicts.get(body["plan"]) == "accept", "the plan has no verdict that accepts it")


def _reserve(r: Replay, body: dict[str, Any]) -> None:
    need(body["key"] not in r.reserved and body["key"] not in r.started, "that was reserved before")
    r.reserved[body["key"]] = (body["accounts"], body["amount"])


def _settle(r: Replay, body: dict[str, Any]) -> None:
    need(
        r.reserved.pop(body["key"], None) == (body["accounts"], body["released"]),
        "it settles what was not reserved",
    )
    if body["key"] in r.calls:
        r.spent[body["key"]] = body["spent"]


def _account(r: Replay, body: dict[str, Any]) -> None:
    need(body["name"] not in r.accounts, "the account was opened before")
    r.accounts.add(body["name"])


def _end(r: Replay, body: dict[str, Any]) -> None:
    need(not r.ended, "the study ended before")
    r.ended = True


def _deploy(r: Replay, body: dict[str, Any]) -> None:
    need(
        r.spend(body["plan"], "deploy")["by"] == body["by"],
        "it names other decisions than those that it rests on",
    )


def _look(r: Replay, body: dict[str, Any]) -> None:
    need(
        body["split"] != "sealed" or r.open.get((body["plan"], "unseal")),
        "sealed was opened, and nobody decided on it",
    )


def _amended(r: Replay, body: dict[str, Any]) -> None:
    told = r.amendments[body["amendment"]]
    need(
        r.spend(body["amendment"], "amend")["by"] == body["by"],
        "it names other decisions than those that it rests on",
    )
    need(
        all(body[key] == told[key] for key in ("version", "config", "decided", "reviewers")),
        "it is not what people decided on",
    )
    need(
        body["version"] == r.rules.version + 1,
        f"its version is {body['version']}; it should be {r.rules.version + 1}",
    )


def _limit(r: Replay, body: dict[str, Any]) -> None:
    r.limits |= budget.study_limits(r.rules.config.budget, r.rules.config.payers())


def _control(r: Replay, body: dict[str, Any]) -> None:
    need(
        body["what"] != "resume" or r.may_resume(),
        "the study went on without the reviewers that it names",
    )
    need(body["what"] != "drill" or r.drillable(), "a drill on a study that people hold")


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
    replay = Replay(ledger, store)
    for entry in ledger.entries():
        replay.step(entry)
    return replay.limits
