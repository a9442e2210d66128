"""One row of the attack catalogue, and the texts that rows refer to."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal

Defender = Literal["gate", "budget", "box", "collector", "evaluator", "ledger", "display"]

PAYLOADS = Path(__file__).parent / "payloads"
"""Hostile programs, ID.txt; `prelude.txt` begins each of them."""
PROPOSALS = Path(__file__).parent / "proposals"
"""Hostile proposals, NAME.txt."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One row. An attack without a program of its own is tried on the trusted side."""

    id: str
    "row of the catalogue, with a letter for a relative"
    title: str
    "short name of the attempt"
    by: Defender
    "part of Heirloop that must stop it"
    defence: str
    "mechanism that the ablation removes"
    _: KW_ONLY
    expect: str = "ok: exit 0"
    "pattern of `status: detail`, or of the refusal"
    evaluator_says: str = ""
    "pattern of the evaluator's reason, for outputs that leave the box"
    incident: bool = False
    "whether the ledger must hold an incident"
    role: Literal["train", "predict"] = "train"
    "job that carries the program"
    followed_by: str = ""
    "payload that runs next in the same box and must notice nothing"
    alongside: str = ""
    "payload that runs at the same time in the same box and must end well"
    least_cpu_us: int = 0
    "microseconds of CPU that the program burns; a smaller charge is an escape"

    def read_program(self) -> str:
        """Return the hostile program, or an empty string if this attack has none."""
        return read_payload(self.id)


def read_payload(name: str) -> str:
    """Return payload `name` with the common prelude in front, or an empty string if there is no
    such payload.
    """
    path = PAYLOADS / f"{name}.txt"
    if not path.exists():
        return ""
    return (PAYLOADS / "prelude.txt").read_text() + path.read_text()


def read_proposal(name: str) -> str:
    """Return the text of hostile proposal `name`."""
    return (PROPOSALS / f"{name}.txt").read_text()
