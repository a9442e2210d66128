import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from configs import build
from configs.build import parse, plain, strict_json
from configs.errors import BadInput
from configs.recipe import GRID, Recipe, knobs
from configs.records import Amount, Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    role: Literal["train", "predict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """A field of each kind that records have."""

    role: Literal["train", "predict"]
    rate: float = 0.0
    files: int | None = None
    names: tuple[str, ...] = ()
    more: dict[str, float] = field(default_factory=dict)
    anything: Any = None
    inner: Inner | None = None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": NaN}', "not a number"),
        ('{"a": Infinity}', "not a number"),
        ('{"a": 1e999}', "not finite"),
        ("[" * 100_000, "strict JSON"),
        ('"' + "x" * 10_000_000 + '"', "bytes"),
    ],
)
def test_hostile_json_is_refused(text, words):
    with pytest.raises(BadInput, match=words):
        strict_json(text, limit=200_000)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("learning_rate", -1.0),
        ("learning_rate", math.nan),
        ("learning_rate", 10**400),
        ("depth", 2.0),
        ("depth", True),
        ("schedule", "cubic"),
        ("speed", 1),
        ("dropout", "0.1"),
        ("width", 17),
    ],
)
def test_a_wrong_knob_is_named_with_its_value(knob, value):
    with pytest.raises(BadInput, match=knob):
        parse(Recipe, {**plain(Recipe()), knob: value})


def test_heads_must_divide_width():
    with pytest.raises(BadInput, match="divisor of width 20"):
        Recipe(width=20, heads=8)  # type: ignore[arg-type]


def test_grid_values_are_inside_the_ranges():
    assert set(GRID) == set(knobs())
    for name, values in GRID.items():
        for value in values:
            heads = {"heads": 1} if name != "heads" else {}
            assert getattr(parse(Recipe, {**plain(Recipe()), **heads, name: value}), name) == value


@pytest.mark.parametrize("amount", [-1, True, 1.0, 2**53])
def test_amounts_are_whole_and_bounded(amount):
    with pytest.raises(BadInput):
        Amount(cpu_us=amount)


def test_a_proposal_with_an_unknown_field_is_refused():
    with pytest.raises(BadInput, match="_target_"):
        parse(Proposal, {"hypothesis": "", "knobs": {}, "_target_": "os.system"})


TRAIN = {"role": "train"}
READ = [
    TRAIN,
    {},
    {"role": 1},
    {"role": []},
    {"x": 1},
    [],
    None,
    *(
        TRAIN | more
        for more in (
            {"files": 1},
            {"files": None},
            {"files": True},
            {"more": {"a": 1.0}},
            {"more": {"a": True}},
            {"more": {1: 1.0}},
            {"rate": float("nan")},
            {"rate": 10**400},
            {"rate": 3},
            {"names": ["a", 1]},
            {"names": ("a",)},
            {"anything": [{}]},
            {"inner": {"role": "predict"}},
            {"inner": {"role": "x"}},
            {"inner": None},
            {"other": 1},
        )
    ),
]


@pytest.mark.parametrize("value", READ, ids=repr)
def test_reading_quickly_takes_what_reading_carefully_takes_and_no_more(value):
    def said(read):
        try:
            return read()
        except BadInput as error:
            return str(error)

    assert said(lambda: build.parse(Quick, value)) == said(lambda: build._careful(Quick, value, ""))
