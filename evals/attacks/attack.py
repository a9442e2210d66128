"""A row of the attack catalogue, and the texts of programs and proposals."""

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
    """A row. An attack without a program of its own is tried on the trusted side."""

    id: str
    "row of the catalogue, with a letter for a relative"
    title: str
    "short name of the attempt"
    by: Defender
    "part of Heirloop with the duty to stop it"
    defence: str
    "mechanism removed by the ablation"
    _: KW_ONLY
    expect: str = "ok: exit 0"
    "pattern of `status: detail`, or of the refusal"
    evaluator_says: str = ""
    "pattern of the evaluator's reason, for outputs outside the box"
    incident: bool = False
    "whether the ledger must hold an incident"
    role: Literal["train", "predict"] = "train"
    "job of the program"
    followed_by: str = ""
    "next payload in the same box; it must notice nothing"
    next_role: Literal["train", "predict"] = "train"
    "job of that next payload"
    alongside: str = ""
    "payload at the same time in the same box; it must end well"
    least_cpu_us: int = 0
    "CPU-microseconds burnt by the program; a smaller charge is an escape"

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
