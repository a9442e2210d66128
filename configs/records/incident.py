"""An incident: a promise that broke, something that was tried and stopped, or a hazard."""

from dataclasses import dataclass
from typing import Literal

Harm = Literal["none", "other", "death", "infrastructure", "imminent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A recorded incident. Unknown facts are empty; an amendment adds them."""

    id: str
    "I-1, I-2 ... within the study; an amendment carries the id of its incident"
    title: str
    "the event, in a clause"
    kind: Literal["incident", "near miss", "hazard"]
    "incident: a promise broke; near miss: something tried and was stopped; hazard: it could happen"
    severity: Literal["low", "medium", "high", "critical"]
    "how bad it is or could have been"
    detected_at: str
    "UTC"
    occurred_start: str
    "UTC"
    occurred_end: str
    "UTC; empty while it lasts"
    detector: str
    "the reporting part: gate, door, judge, tripwire, or a person"
    study: str
    "digest of the study root"
    plan: str = ""
    "digest of the plan concerned"
    artifacts: tuple[str, ...] = ()
    "digests of bytes concerned"
    chain: tuple[int, ...] = ()
    "ledger entries of its history, in order"
    harm_actual: Harm = "none"
    "harm done, by the classes of the two laws"
    harm_potential: str = ""
    "what it could have done"
    root_cause: str = ""
    "why it could happen"
    containment: str = ""
    "what stopped it"
    corrective_action: str = ""
    "the change against a repetition"
    reporter: str = ""
    "who reported it: heirloop, or a person's name"
    internal_use: bool = True
    "whether it comes from internal use alone (SB 53)"
    amended_from: int = 0
    "ledger entry of the earlier version, for an amendment; 0: no earlier version"
    notification_due_at: str = ""
    "UTC; empty where no law asks for notice"
