"""State of a verification: the facts of a recorded ledger before the entry under check."""

from collections import Counter
from dataclasses import dataclass, field

from configs.entries import Amendment, DecisionEntry
from configs.errors import VerificationFailed
from configs.records import Amount, Grant
from loop.verify.inputs import Recorded
from sandbox import own
from sandbox.budget import Balances
from sandbox.gate import decide
from sandbox.gate.memory import Memory, Moment, Question
from sandbox.store import Store


@dataclass(slots=True, kw_only=True)
class Replay:
    """A recorded ledger up to an entry: the gate's memory, and facts needed only for a check."""

    memory: Memory
    "facts for the gate's decisions"
    store: Store
    "stored bytes of the run"
    now: float = 0.0
    "unix seconds of the entry, the clock of all checks"
    decisions: dict[Question, list[DecisionEntry]] = field(default_factory=dict)
    "unused yes decisions, by (subject, class)"
    granted: dict[str, Grant] = field(default_factory=dict)
    "grants of jobs without a result, by nonce"
    slots: set[str] = field(default_factory=set)
    "granted places"
    nodes: set[str] = field(default_factory=set)
    "public halves of the nodes that joined the study"
    running: set[str] = field(default_factory=set)
    "nonces of running jobs and calls"
    started: set[str] = field(default_factory=set)
    "nonces of begun jobs and calls"
    limits: dict[str, Amount] = field(default_factory=dict)
    "limit required of each account"
    cuts: dict[str, int] = field(default_factory=dict)
    "CPU-microseconds that quota cuts took from each account since the last amendment"
    before_retries: dict[str, Amount] = field(default_factory=dict)
    "limit of an approval's account before edition 3, which pays a killed job again"
    balances: Balances = field(default_factory=dict)
    "balances of all accounts"
    accounts: set[str] = field(default_factory=set)
    "opened accounts"
    reserved: dict[str, tuple[tuple[str, ...], Amount]] = field(default_factory=dict)
    "accounts and amount of each unsettled reservation"
    spent: dict[str, Amount] = field(default_factory=dict)
    "settled amount of each call without an answer yet"
    calls: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    "plan, index and digest of each question without an answer yet"
    amendments: dict[str, Amendment] = field(default_factory=dict)
    "proposed amendments, by digest"
    verdicts: dict[str, str] = field(default_factory=dict)
    "answer of the verdict on a plan"
    recorded: Recorded = field(default_factory=Recorded)
    "bytes recorded for the jobs, and looks"
    looks: Counter[tuple[int, str]] = field(default_factory=Counter)
    "looks taken, by (repeat, split)"
    edition: int = 1
    "edition of the rules at the study's root"
    ended: bool = False
    "the study has its end"
    sequence: int = 0
    "number of the entry"
    findings: list[str] = field(default_factory=list)
    "faults in a ledger of an older format, against rules that are newer than it"

    def expect(self, ok: object, otherwise: str, edition: int = 2) -> None:
        """Hold an entry against a rule of an edition (2: format 2); note a fault in an older
        ledger.
        """
        if ok:
            return
        if self.edition >= edition:
            raise VerificationFailed(otherwise)
        self.findings.append(f"entry {self.sequence}: {otherwise}")

    def moment(self) -> Moment:
        """Return the facts besides the ledger: its time, no revoked key, the own gate if known."""
        return Moment(now=self.now, revoked=(), store=self.store, own_refusal=self.own_refusal)

    def own_refusal(self, subject: str, change_class: str) -> str:
        """Ask the study's own gate again where this user named its file.

        Code brought along by a run is not run.
        """
        if not own.known(self.memory.rules.config.gates.file_digest):
            return ""
        return decide.ask_own_gate(self.memory, subject, change_class)

    def use_decision(self, subject: str, change_class: str) -> DecisionEntry:
        """Return the decision behind an act and use it up; raises VerificationFailed."""
        decisions = self.decisions.get((subject, change_class))
        if not decisions:
            raise VerificationFailed(
                f"it rests on no decision of class {change_class} on {subject[:12]}"
            )
        return decisions.pop()


def need(ok: object, otherwise: str) -> None:
    """Raise VerificationFailed unless `ok`."""
    if not ok:
        raise VerificationFailed(otherwise)
