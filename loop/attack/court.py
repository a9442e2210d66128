"""A throw-away study whose gate people hold, for attacks on gates, displays and the ledger; and the
door's way to say what happened.
"""

from collections.abc import Callable
from typing import Any

from configs.build import plain
from configs.errors import BadInput, Denied, HeirloopError, NeedsHuman
from configs.records import Plan, Proposal, Purpose
from configs.settings.gates import Caps
from loop.plan import Draft, make_plan, source
from loop.settings import composed
from loop.study.open import _LOCKS, Running, open_study
from sandbox import keys
from sandbox.box.base import Box
from sandbox.canonical import digest
from sandbox.decision import new_approval, new_mandate
from sandbox.gate import Gate

PASSPHRASE = "correct horse battery"


PEOPLE = {
    "ada": ("person", ""),
    "ada2": ("person", "ada"),
    "bob": ("person", ""),
    "eve": ("external", ""),
    "bot": ("simulated", ""),
    "local": ("person", ""),
}
"""Keys that the study pins; the last is one that the proposer itself holds."""


def refused(act: Callable[[], object], *kinds: type[HeirloopError]) -> str:
    """Return the refusal of an act, or what it did instead."""
    try:
        return f"got through: {act()!r}"
    except kinds as error:
        return str(error)


def instead(settings: tuple[str, ...], *changes: str) -> list[str]:
    """Return settings with some replaced by others of the same name."""
    names = {one.partition("=")[0] for one in changes}
    return [one for one in settings if one.partition("=")[0] not in names] + list(changes)


def release(folder: str) -> None:
    """Let go of the locks of every study in a folder."""
    for lock in [one for one in _LOCKS if one.name.startswith(f"{folder}/")]:
        lock.close()
        _LOCKS.remove(lock)


class Court:
    """One such study, with its baseline approved and champion."""

    def __init__(
        self,
        settings: tuple[str, ...],
        box: Box,
        first: tuple[str, ...] = ("ada",),
        mandate: Caps | None = None,
    ) -> None:
        for key, (kind, person) in PEOPLE.items():
            if not (keys.home() / "keys" / f"{key}.key").exists():
                keys.new_key(key, kind, PASSPHRASE, person)
        self.settings, self.mandate = settings, b""
        self.running: Running = open_study(composed(self.settings), box)
        self.folder, self.count = self.running.folder, 0
        self.baseline = self.plan(purpose="baseline")
        if mandate:
            half = next(k for k in keys.public_keys() if k["name"] == "ada")
            made = new_mandate(self.running.config, mandate, "person", "ada", half["public"])
            self.mandate = keys.sign(plain(made), keys.open_key("ada", PASSPHRASE), "mandate")
            self.gate.admit(self.mandate, "mandate")
        self.admit(*(self.sign(self.baseline, key) for key in first))
        self.gate.grant(self.baseline)
        arm = self.running.config.arms()[0]
        self.running.ledger.append(
            "champion", {"arm": arm, "repeat": 0, "plan": self.baseline, "generation": 0}
        )
        self.running.checkpoint()

    @property
    def gate(self) -> Gate:
        """Return a gate that has read the ledger from its beginning."""
        return Gate(self.running.ledger, self.running.sandbox.store).refresh()

    def plan(
        self,
        hypothesis: str = "an attack",
        code: str = "",
        purpose: Purpose = "candidate",
        risk: str = "",
        **changes: Any,
    ) -> str:
        """Record a plan; `code` is added to train.py. Returns its digest."""
        r, self.count = self.running, self.count + 1
        recipe, files = r.config.task.baseline, source()
        files["models/train.py"] += code.encode(errors="surrogateescape")
        parent = "" if purpose == "baseline" else self.baseline
        bundle = r.sandbox.store.put_bundle(files)
        draft = Draft(
            generation=1 if parent else 0,
            index=self.count,
            purpose=purpose,
            parent=parent,
            change_class=risk or ("patch" if code else "recipe"),  # type: ignore[arg-type]
            recipe=recipe,
            bundle=bundle,
            reference=(bundle, recipe) if parent else None,
            proposal=Proposal(hypothesis=hypothesis, knobs={}),
        )
        plan = make_plan(r.config, draft, study=r.root, version=1, arm=r.config.arms()[0], repeat=0)
        whole = Plan(**{name: changes.get(name, getattr(plan, name)) for name in Plan.__slots__})
        r.ledger.append("plan", {"digest": digest(whole), "plan": plain(whole)})
        return digest(whole)

    def sign(
        self,
        name: str,
        key: str = "ada",
        what: str = "",
        answer: Any = "approve",
        by: str = "",
        envelope: str = "approval",
        **changes: Any,
    ) -> bytes:
        """Return a decision in the name of `key`, signed by its key, or by the key `by`."""
        gate = self.gate
        subject = gate.subjects[name]
        half = next(k for k in keys.public_keys() if k["name"] == key)
        one = new_approval(
            gate.rules, subject, what or subject.classes[0], answer, "because", 24, half
        )
        return keys.sign(plain(one) | changes, keys.open_key(by or key, PASSPHRASE), envelope)

    def free(self) -> None:
        """Let go of the study's lock, as the end of its process would."""
        release(str(self.folder))

    def admit(self, *envelopes: bytes) -> str:
        """Hand decisions in; return what was said of each."""
        return "; ".join(said for one in envelopes if (said := self.gate.admit(one, "approval")))

    def decide(self, name: str, *envelopes: bytes, what: str = "") -> str:
        """Hand decisions in and ask the gate; return what was refused, or that it got through."""
        said = self.admit(*envelopes)
        gate = self.gate
        asked = what or gate.subjects[name].classes[0]
        answer = refused(lambda: gate.authority(name, asked), NeedsHuman, Denied, BadInput)
        return f"{said}; {answer}" if said else answer
