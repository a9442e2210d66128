"""An open study: its settings, ledger, gate, box and facts, as a single object for the loop."""

import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from configs.build import plain
from configs.entries import Fact
from configs.errors import Denied, Lapsed, NeedsHuman
from configs.records import Amount
from configs.settings.config import Config
from loop.facts.facts import Facts
from loop.facts.nearest import WeightIndex
from loop.facts.reader import FactsReader
from loop.study.items import HeldOut
from loop.study.workers import Workers
from sandbox import budget, incident
from sandbox.decision import HOUR
from sandbox.gate import Gate, Halted
from sandbox.heads import checkpoint, places
from sandbox.keys import signer
from sandbox.ledger import Ledger
from sandbox.run import Sandbox
from sandbox.store import Store
from sandbox.tripwires import TripwireCounts

DRILL_SECONDS = 60
"""Longest wait for the end of a drill."""


@dataclass(slots=True, kw_only=True)
class Running:
    """An open study."""

    config: Config
    "settings in force"
    folder: Path
    "the run's folder"
    root: str
    "hash of the study root"
    secret: bytes
    "study secret, the source of every repeat's secret"
    sandbox: Sandbox
    "ledger, store, box and gate; jobs run through them alone"
    facts_reader: FactsReader
    "facts, following the ledger"
    items: HeldOut
    "held-out items and seeds of each repeat"
    nearest: WeightIndex
    "sketches of all weights, to find copies"
    tripwires: TripwireCounts
    "counts with limits: beyond a limit the study pauses"
    workers: Workers
    "as many threads as jobs may run at a time"
    say: Callable[[str], None] = lambda text: None
    "print a line for people"
    paid: frozenset[str] = frozenset()
    "keys of the proposals charged before the study was opened"
    stopped: bool = False
    "whether the loop should end"
    ordered: str = ""
    "signal behind an ordered stop, recorded at the end"
    unwatched: Exception | None = None
    "why orders from outside could not be followed any more; it stops the study"

    @property
    def ledger(self) -> Ledger:
        """The study's ledger."""
        return self.sandbox.ledger

    @property
    def gate(self) -> Gate:
        """The study's gate."""
        return self.sandbox.gate

    @property
    def store(self) -> Store:
        """The study's store."""
        return self.sandbox.store

    def facts(self) -> Facts:
        """Return the study's facts, brought up to the ledger's head."""
        return self.facts_reader.facts()

    def facts_sequence(self) -> int:
        """Return the ledger sequence of the facts."""
        return self.facts_reader.sequence

    def watch(self) -> None:
        """Pause the study if it touched a tripwire."""
        if any(plain(self.config.gates.tripwires).values()):
            spent = self.ledger.read(budget.balances)["root"]["cpu_us"]
            self.tripwires.trip(spent["spent"] / spent["limit"])

    def renew(self, plan: str, lapsed: Lapsed) -> None:
        """Let a newer mandate or approval stand behind a plan.

        Where people must decide first, the lapse is raised, with the question for them.
        """
        try:
            self.gate.grant(plan)
        except Denied:
            raise
        except NeedsHuman as error:
            lapsed.question = error.question
            raise lapsed from None

    def hand_over(self, plan: str) -> None:
        """Let the next mandate pay for a plan where its own has no room for another training."""
        gate, memory = self.gate, self.gate.memory
        if len(memory.mandates) < 2:
            return
        change_class, used_up = memory.plans[plan].change_class, gate.moment().used_up
        yes = memory.allowed.get((plan, change_class))
        with suppress(NeedsHuman, Denied):
            if yes and yes.authority in used_up:
                (authority, *_) = gate.authority(plan, change_class)
                if authority not in used_up:
                    gate.grant(plan)

    def resume_command(self) -> str:
        """Return the command that lets a held study go on."""
        return f"heirloop resume {shlex.quote(str(self.folder))}"

    def wait(self, halted: Halted) -> None:
        """Wait while people hold the study, as long as its patience.

        A stop, or the end of the patience, is raised.
        """
        limits = {"drill": DRILL_SECONDS, "slow": 2 * HOUR, "stop": 0}
        patience = limits.get(halted.how, self.config.gates.patience_seconds)
        deadline = time.monotonic() + patience
        if patience:
            self.say(
                f"{halted}; waits up to {patience / 60:.0f} minutes, `{self.resume_command()}`"
            )
        while halted.how == "slow" or self.gate.refresh().memory.halt:
            if self.stopped or time.monotonic() >= deadline or self.gate.memory.halt == "stop":
                raise halted
            time.sleep(0.05)
            if halted.how == "slow" and self.gate.refresh().room():
                return

    def checkpoint(self) -> None:
        """Sign the ledger's head, in the run and outside it."""
        sign_head(self.ledger, self.secret, self.folder)


def sign_head(ledger: Ledger, secret: bytes, folder: Path) -> None:
    """Sign a ledger's head, in the run and outside it."""
    checkpoint(ledger, signer(secret), places(folder, ledger.root()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """The trusted side's own CPU for a proposal, to be charged to its arm."""

    arm: str
    key: str
    "place of the proposal"
    cpu_us: int


def charge_proposer(running: Running, charge: Charge | None, facts: Sequence[Fact] = ()) -> None:
    """Charge for a proposal, if there is a charge, and record its facts in the same transaction.

    A proposal charged before a kill is written again, and not charged again.
    """
    if charge is None or charge.key in running.paid:
        if facts:
            with running.ledger.transaction() as txn:
                txn.extend(facts)
        return
    payers = ("root", "propose", budget.arm_account(charge.arm))
    refused = incident.refusals(running.ledger, "proposal", "compute that nobody granted")
    with refused, running.ledger.transaction() as txn:
        budget.charge(txn, charge.key, payers, Amount(cpu_us=charge.cpu_us))
        txn.extend(facts)
