"""What does a study claim in advance? Its primary claims, registered in the study root.

Example: claim `carries on` says that `self minus refit` is above 0, and that 0.05 bits would be of
interest. A claim names an instrument as `heirloop instruments --json` does; `between, ` may be left
out. It is refused where the study cannot measure that instrument (docs/instruments.md).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Literal, NoReturn

from configs.arms import (
    ACCORD_FIGURES,
    BOTH,
    EVOLVE,
    EVOLVING,
    FACTORY,
    KEEPING,
    LONGER,
    MORE,
    PAIRS,
    PARALLEL,
    REFERENCE,
    SELECTING,
    SPARED,
    WITHDRAWN,
)
from configs.build import need
from configs.errors import BadInput

MOST = 8
"""Most claims of a study: each makes proof of the others harder."""
MOST_START = 8
"""Trials of the start up to which own effects are claimed. With more the start tells a reader so
much that own outcomes can add next to nothing.
"""
REVIEWERS = ("screening", "estimate", "care")
"""Rules that review write-ups."""
CLAIMED = ("gain", "part", "elsewhere", "compute")
"""Kinds of claims of write-ups."""
PREFIX = "between, "
"""Part of an instrument's name that a claim may leave out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A primary claim: what an instrument will show, said before the first generation."""

    name: str
    "its name, such as `carries on`"
    instrument: str
    "the instrument by its name in `heirloop instruments --json`, such as `self minus refit`"
    asks: Literal["above", "below", "equivalent"]
    """above, below: the value lies on that side of `bound`. equivalent: it lies less than `bound`
    from the instrument's neutral value, on either side
    """
    bound: float
    "the bound, in the instrument's unit"
    smallest: float | None = None
    """above, below: the smallest distance beyond `bound` that is of interest, in the instrument's
    unit; left out with equivalent, whose bound is that
    """

    def __post_init__(self) -> None:
        need(bool(self.name.strip()) and len(self.name) <= 80, "name", self.name, "1 to 80 letters")
        if self.asks == "equivalent":
            need(self.bound > 0, "bound", self.bound, "above 0: a distance from the neutral value")
            given = self.smallest
            need(given is None, "smallest", given, "left out where equivalent is asked")
        else:
            known = self.smallest is not None and self.smallest > 0
            need(known, "smallest", self.smallest, "a distance above 0, in the instrument's unit")

    @property
    def path(self) -> str:
        """The instrument's whole name."""
        short = self.instrument.startswith(("arms, ", PREFIX))
        return self.instrument if short else PREFIX + self.instrument

    @property
    def interest(self) -> float:
        """The smallest distance that is of interest."""
        return self.bound if self.smallest is None else self.smallest

    def describe(self) -> str:
        """Return the claim in words, without its name."""
        if self.asks == "equivalent":
            return f"{self.instrument} within {self.bound:g} of {neutral(self.path):g}"
        return f"{self.instrument} {self.asks} {self.bound:g}, by {self.interest:g} or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a study must have for an instrument."""

    arms: tuple[str, ...] = ()
    "its arms; {arm} is the arm in the instrument's name"
    settings: tuple[str, ...] = ("final_replicates",)
    "settings of group study that may not be 0"
    neutral: float = 0.0
    "its neutral value"
    few_at_start: bool = False
    "whether it says little with more than MOST_START trials at the start"
    referred: bool = False
    "whether it is read beside reference changes: arm reference, or a table's truth"


_TWINS = {
    "kappa": ("scrambled",),
    "start effect": ("scrambled_start",),
    "interaction": ("scrambled_own", "scrambled_start", "scrambled"),
    "rounds against one": ("one_shot",),
}
_OWN = {
    "own effect": "scrambled_own",
    "own effect, left out": "no_own",
    "kappa own": "scrambled_own",
}
_TEAMS = {
    f"between, {team}, {measure}, {pair}": Needs(
        arms=(names[one], names[other]),
        settings=("final_replicates",) if measure == "gain" else (),
    )
    for team, names in PARALLEL.items()
    for measure in ("gain", "yield per compute", "duplicates", "distance")
    for pair, (one, other) in PAIRS.items()
}
_SKILL = {
    "{arm}, self effect": Needs(arms=("{arm}",), settings=("skill_proposals",)),
    "{arm}, gain minus refit": Needs(arms=("{arm}", "refit")),
    "{arm}, amplifying": Needs(
        arms=("{arm}", "refit"), settings=("final_replicates", "skill_proposals")
    ),
    "{arm} minus self, self effect": Needs(arms=("{arm}", "self"), settings=("skill_proposals",)),
}
_AMPLIFY = {
    f"between, amplify, {name.format(arm=arm)}": replace(
        needs, arms=tuple(one.format(arm=arm) for one in needs.arms)
    )
    for arm in SELECTING
    for name, needs in _SKILL.items()
}
_DATABASE = {
    f"between, {EVOLVE}, {measure}, minus {{arm}}": Needs(arms=(EVOLVE, "{arm}"), settings=settings)
    for measure, settings in {
        "gain": ("final_replicates",),
        "parents": ("most_changes",),
        "champion as parent": ("most_changes",),
        "cells": (),
        "duplicates": (),
    }.items()
}
_PROGRAMS = {
    **{
        f"between, programs, {arm}, {name}": Needs(arms=(arm,), settings=("skill_proposals",))
        for arm in EVOLVING
        for name in ("gain", "promised", "shortfall")
    },
    **{
        f"between, programs, {one} minus {other}, gain": Needs(
            arms=(one, other), settings=("skill_proposals",)
        )
        for one, other in combinations(EVOLVING, 2)
    },
}
_FAULTS = {
    **{f"between, faults, cost of {arm}": Needs(arms=(arm, twin)) for arm, twin in SPARED.items()},
    "between, faults, closure, with minus without": Needs(
        arms=("self", "scrambled", SPARED["self"], SPARED["scrambled"])
    ),
    "arms, {arm}, faults, CPU lost": Needs(arms=("{arm}",), settings=()),
    **{
        f"between, withdrawn, {arm}, {figure}": Needs(arms=(arm, twin))
        for arm, (twin, _) in WITHDRAWN.items()
        for figure in ("cost", "share kept")
    },
}
_ACCORD = {f"between, accord, {name}": Needs(arms=arms) for name, arms in ACCORD_FIGURES.items()}
_FACTORY = {
    f"between, factory, {one} minus {other}, {name}": Needs(arms=(one, other), settings=())
    for one, other in permutations(FACTORY, 2)
    for name in ("defects deployed", "hours lived", "requests harmed", "gain", "gain per hour")
}
_SCIENTIST = {
    f"between, scientist, {name}": Needs(settings=("writeups",), neutral=value)
    for name, value in {
        **{f"{who}, AUROC": 0.5 for who in REVIEWERS},
        **{f"{who}, AUROC, law": 0.5 for who in REVIEWERS},
        **{f"{who}, bias": 0.0 for who in REVIEWERS},
        **{f"care minus {who}, AUROC": 0.0 for who in REVIEWERS[:2]},
        **{f"care minus {who}, Brier saved": 0.0 for who in REVIEWERS[:2]},
        **{f"replicates, {what}": 0.5 for what in (*CLAIMED, "gain, accepted")},
        **{f"replicates, gain minus {what}": 0.0 for what in CLAIMED[1:]},
        "novelty, claim, replicating minus not": 0.0,
    }.items()
}
INSTRUMENTS: dict[str, Needs] = {
    "between, self minus {arm}": Needs(arms=("self", "{arm}")),
    **{f"between, {name}": Needs(arms=("self", *arms)) for name, arms in _TWINS.items()},
    **{
        f"between, {name}": Needs(arms=("self", arm), few_at_start=True)
        for name, arm in _OWN.items()
    },
    **{
        f"between, {name} effect": Needs(arms=("self",), settings=("skill_proposals",))
        for name in ("self", "data", "placebo")
    },
    **{
        f"between, reach, {arm}": Needs(arms=(arm, f"{arm}_free"))
        for arm in ("one_shot", "no_carry")
    },
    **_AMPLIFY,
    "between, amplify, self_skill minus skill_placebo, self effect": Needs(
        arms=SELECTING, settings=("skill_proposals",)
    ),
    "between, keeping, false keeps, greedy minus rule": Needs(arms=KEEPING, settings=()),
    "between, keeping, gain, rule minus greedy": Needs(arms=KEEPING),
    **_TEAMS,
    **_DATABASE,
    **_PROGRAMS,
    **_FAULTS,
    **_ACCORD,
    **_FACTORY,
    **_SCIENTIST,
    "arms, self, compute x proposals": Needs(arms=("self", LONGER, "more_proposals", BOTH)),
    "arms, {arm}, gain": Needs(arms=("{arm}",)),
    "arms, {arm}, gain ratio": Needs(arms=("{arm}",), neutral=1.0),
    "arms, {arm}, accepted of the confirmed": Needs(arms=("{arm}",), settings=()),
    "arms, {arm}, excess loss, sealed": Needs(arms=("{arm}",)),
    "arms, {arm}, excess loss, large": Needs(
        arms=("{arm}",), settings=("final_replicates", "larger_replicates"), referred=True
    ),
    "arms, {arm}, excess loss, {slice}": Needs(arms=("{arm}",), referred=True),
    "arms, {arm}, calibration": Needs(arms=("{arm}",), settings=(), neutral=1.0),
    "arms, {arm}, calibration bias": Needs(arms=("{arm}",), settings=()),
    "arms, {arm}, provenance": Needs(arms=("{arm}",), settings=(), neutral=0.5),
}
"""Instrument -> its needs. Each has an interval at any level, so that a family of claims can be
decided on.
"""


EXAMPLES = (
    "parallel, gain, shared minus separate",
    "factory, lights_out minus reviewed, requests harmed",
)
"""One of each group of instruments that are too many to list."""


def neutral(path: str) -> float:
    """Return the neutral value of an instrument by its whole name."""
    return _match(path)[0].neutral


def _match(path: str) -> tuple[Needs, str, str]:
    """Return the needs of an instrument, and the arm and the slice in its name, if any.

    Raises BadInput for no such instrument.
    """
    for pattern, needs in INSTRUMENTS.items():
        named = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\w+)", re.escape(pattern))
        if found := re.fullmatch(named, path):
            parts = found.groupdict()
            return needs, parts.get("arm", ""), parts.get("slice", "")
    many = _TEAMS.keys() | _FACTORY.keys()
    names = [name.removeprefix(PREFIX) for name in INSTRUMENTS if name not in many]
    known = ", ".join(f"“{name}”" for name in [*names, *EXAMPLES])
    raise BadInput(f"instrument is {path.removeprefix(PREFIX)!r}; it should be one of {known}")


def need_measurable(
    claims: Sequence[Claim],
    arms: Sequence[str],
    study: object,
    slices: Sequence[str] = (),
    on_table: bool = False,
) -> None:
    """Refuse claims on instruments that a study with these arms and settings cannot measure.

    `study` is the record of group study, `slices` are those of its task.
    """
    arms = (*arms, REFERENCE) if on_table else arms
    need(len(claims) <= MOST, "study.claims", f"{len(claims)} claims", f"at most {MOST}")
    names = [claim.name for claim in claims]
    need(len(set(names)) == len(names), "study.claims", names, "a list of different names")
    for place, claim in enumerate(claims):
        try:
            _need_measurable(claim, arms, study, slices)
        except BadInput as error:
            raise BadInput(f"study.claims[{place}].{error}") from None


def _need_measurable(
    claim: Claim, arms: Sequence[str], study: object, slices: Sequence[str]
) -> None:
    needs, arm, part = _match(claim.path)
    if arm in MORE and claim.path.startswith(PREFIX):
        _refuse(claim, f"arm {arm} has more to spend, so it is compared with none at equal plan")
    if part and part not in slices:
        _refuse(claim, f"the task's slices are {', '.join(slices) or 'none'}")
    wanted = [*(one.format(arm=arm) for one in needs.arms), *[REFERENCE] * needs.referred]
    lacking = [name for name in wanted if name not in arms]
    if lacking:
        _refuse(claim, f"it needs arm {', '.join(lacking)}, and study.arms has {', '.join(arms)}")
    for name in needs.settings:
        if not getattr(study, name):
            _refuse(claim, f"it needs study.{name} above 0")
    start = getattr(study, "start_trials", 0)
    if needs.few_at_start and start > MOST_START:
        _refuse(claim, f"it needs study.start_trials of at most {MOST_START}, which is {start}")


def _refuse(claim: Claim, why: str) -> NoReturn:
    raise BadInput(f"instrument is {claim.instrument!r}; {why}")
