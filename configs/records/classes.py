"""The change classes: kinds of change for a person to decide on, by risk, then the acts.

A plan of class `patch`, for example, edits models/train.py; its rule says whether a mandate is
enough. A new class is another line of `CHANGE_CLASSES` and of `ClassName`.
"""

from dataclasses import dataclass
from typing import Literal

ClassName = Literal[
    "recipe",
    "patch",
    "structural",
    "proposer",
    "propose",
    "promote",
    "deploy",
    "unseal",
    "amend",
    "release",
    "rollback",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeClass:
    """A class of decision."""

    text: str
    "the change or act, in a sentence"
    covers: frozenset[str] | None = None
    """files of the bundle that a plan may change against its parent, `FOLDER/` those of a folder;
    None: an act has no files
    """
    mandate: bool = False
    "whether a mandate may cover it"
    act: bool = False
    "whether it is an act, decided on without jobs"


CHANGE_CLASSES: dict[ClassName, ChangeClass] = {
    "recipe": ChangeClass(
        text="A plan changes knobs of the training recipe.", covers=frozenset(), mandate=True
    ),
    "patch": ChangeClass(
        text="A plan edits models/train.py, or models/serve.py of a factory.",
        covers=frozenset({"models/train.py", "models/serve.py"}),
        mandate=True,
    ),
    "structural": ChangeClass(
        text="A plan edits models/net.py.",
        covers=frozenset({"models/train.py", "models/serve.py", "models/net.py"}),
        mandate=True,
    ),
    "proposer": ChangeClass(
        text="A plan edits the proposer's own program: models/propose.py, `program` or agent/.",
        covers=frozenset({"models/propose.py", "program", "agent/"}),
        mandate=True,
    ),
    "propose": ChangeClass(
        text="Weights, a program in a box or an outside model are asked for proposals.",
        covers=frozenset({"program", "agent/", "notes"}),
        mandate=True,
    ),
    "promote": ChangeClass(
        text="A successor becomes the champion of its campaign.", mandate=True, act=True
    ),
    "deploy": ChangeClass(text="A champion's weights leave the study.", act=True),
    "unseal": ChangeClass(
        text="The sealed split is looked at; every opening is signed for itself.",
        covers=frozenset(),
    ),
    "amend": ChangeClass(text="People set another objective, budget, gate or reviewer.", act=True),
    "release": ChangeClass(
        text="A service goes live inside the boxes of its study, by the rule of its arm.",
        mandate=True,
        act=True,
    ),
    "rollback": ChangeClass(
        text="A live service is taken back, since its satisfaction fell.", mandate=True, act=True
    ),
}
"""Every change class by name, in order of risk; acts last."""
CLASSES: tuple[ClassName, ...] = tuple(CHANGE_CLASSES)
LATER: tuple[ClassName, ...] = ("release", "rollback")
"""Classes that older settings do not name; where no rule names them they are denied."""
CLASS_OF_FILE: dict[str, ClassName] = {
    "models/propose.py": "proposer",
    "models/net.py": "structural",
    "models/train.py": "patch",
    "models/serve.py": "patch",
}
"""Edited file -> class of the plan, highest risk first; a plan that edits none is a recipe."""
RESUME = "resume"
"""The act that lets a stopped or paused study go on. It has no rule: people always decide on it."""
ACTS = (*(name for name, one in CHANGE_CLASSES.items() if one.act), RESUME)
"""Acts, decided on without jobs."""
