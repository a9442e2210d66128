"""Full view of a program on the trusted side for a single proposal, and its way of writing.

Its output is data, like the output of any proposer.
"""

import contextlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from configs.history import History
from configs.recipe import Recipe, knob_values
from configs.settings.proposer import Proposer as Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposerView:
    """Full view of a program on the trusted side for a single proposal."""

    history: History
    "the champion and the campaign's trials (configs/history.py)"
    sources: Mapping[str, str]
    "digest of a trial's bundle -> text of its models/train.py"
    settings: Settings
    "group `proposer` of the study"
    rng: random.Random
    "seeded by study seed, arm, repeat, generation and index"
    generation: int
    "number of the generation"
    index: int
    "number of the proposal within it"


def draw(rng: random.Random, base: Recipe, choices: Mapping[str, tuple[Any, ...]]) -> Recipe:
    """Draw knobs until they fit together.

    After 100 draws the recipe gets a single head. Heads must divide the width, and a step may allow
    no other.
    """
    for attempt in range(200):
        drawn = {name: rng.choice(values) for name, values in choices.items()}
        knobs = {**plain(base), **drawn}
        if attempt > 100:
            knobs["heads"] = 1
        with contextlib.suppress(BadInput):
            return Recipe(**knobs)
    raise AssertionError("no draw fits")


def proposal(
    champion: Recipe,
    recipe: Recipe,
    hypothesis: str,
    predicted_gain: float | None = None,
    edits: Sequence[Mapping[str, str]] = (),
    basis: str = "",
) -> str:
    """Return the text of a proposal for turning the champion's recipe into another.

    `edits` (configs.records.Edit) change its source. The change limit counts against the plan
    `basis`; empty: the champion.
    """
    before = knob_values(champion)
    knobs = {name: value for name, value in knob_values(recipe).items() if value != before[name]}
    return write_text(hypothesis, knobs, edits, predicted_gain, basis)


def write_text(
    hypothesis: str,
    knobs: Mapping[str, object],
    edits: Sequence[Mapping[str, str]] = (),
    predicted_gain: float | None = None,
    basis: str = "",
) -> str:
    """Return the text of a proposal with these fields; an empty basis is not written."""
    fields = {"hypothesis": hypothesis, "knobs": knobs, "predicted_gain": predicted_gain}
    named = {"basis": basis} if basis else {}
    return json.dumps({**fields, "edits": list(edits), **named})
