import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from configs.build import parse, plain, strict_json
from configs.errors import BadInput
from configs.recipe import GRID, Recipe, knobs
from configs.records import Amount, Proposal
from configs.settings.task import Depth
from sandbox.canonical import canonical


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
    assert set(GRID) <= set(knobs())
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
HUGE = repr(10**400)[:77] + "..."
KEYS = "it should be one of the known keys: anything, files, inner, more, names, rate, role"
READ = [
    (TRAIN, {}),
    ({}, "role is missing; it should be a Literal"),
    ({"role": 1}, "role is 1; it should be one of train, predict"),
    ({"role": []}, "role is []; it should be one of train, predict"),
    ({"x": 1}, f"unknown key x is 1; {KEYS}"),
    ([], "Quick is []; it should be a mapping of fields"),
    (None, "Quick is None; it should be a mapping of fields"),
    (TRAIN | {"files": 1}, {"files": 1}),
    (TRAIN | {"files": None}, {"files": None}),
    (TRAIN | {"files": True}, "files is True; it should be a whole number"),
    (TRAIN | {"more": {"a": 1.0}}, {"more": {"a": 1.0}}),
    (TRAIN | {"more": {"a": True}}, "more.a is True; it should be a finite number"),
    (TRAIN | {"more": {1: 1.0}}, "more is 1; it should be text"),
    (TRAIN | {"rate": float("nan")}, "rate is nan; it should be a finite number"),
    (TRAIN | {"rate": 10**400}, f"rate is {HUGE}; it should be a finite number"),
    (TRAIN | {"rate": 3}, {"rate": 3.0}),
    (TRAIN | {"names": ["a", 1]}, "names[1] is 1; it should be text"),
    (TRAIN | {"names": ("a",)}, {"names": ("a",)}),
    (TRAIN | {"anything": [{}]}, {"anything": [{}]}),
    (TRAIN | {"inner": {"role": "predict"}}, {"inner": Inner(role="predict")}),
    (TRAIN | {"inner": {"role": "x"}}, "inner.role is 'x'; it should be one of train, predict"),
    (TRAIN | {"inner": None}, {"inner": None}),
    (TRAIN | {"other": 1}, f"unknown key other is 1; {KEYS}"),
]


@pytest.mark.parametrize(("value", "result"), READ, ids=repr)
def test_a_value_is_read_or_refused_by_its_place(value, result):
    if isinstance(result, dict):
        assert repr(parse(Quick, value)) == repr(Quick(role="train", **result))
    else:
        with pytest.raises(BadInput) as refused:
            parse(Quick, value)
        assert str(refused.value) == result


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    amounts: tuple[Amount, ...]
    pair: tuple[int, str] = (1, "")


@pytest.mark.parametrize(
    ("value", "where", "words"),
    [
        ({"amounts": [{}, {"cpu_us": -1}]}, "body", r"body\.amounts\[1\]\.cpu_us is -1; it should"),
        ({"amounts": [{"cpu_us": "x"}]}, "", r"amounts\[0\]\.cpu_us is 'x'; it should be a whole"),
        ({"amounts": [], "pair": [1, 2]}, "", r"pair\[1\] is 2; it should be text"),
        ({"amounts": [], "pair": []}, "", r"pair is \[\]; it should be a list of 2 values"),
        ({"amounts": [], "pair": [1, "a"], "b": 1}, "x", r"unknown key x\.b is 1"),
    ],
)
def test_a_refusal_names_the_place_below_where_the_value_stands(value, where, words):
    with pytest.raises(BadInput, match=f"^{words}"):
        parse(Outer, value, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    change_class: str = field(metadata={"wire": "class"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    words: dict[str, str] = field(metadata={"wire": "*"})


def test_a_field_can_have_another_key_on_the_wire():
    assert parse(Asked, {"class": "patch"}) == Asked(change_class="patch")
    assert plain(Asked(change_class="patch")) == {"class": "patch"}
    assert canonical(Asked(change_class="patch")) == b'{"class":"patch"}'
    with pytest.raises(BadInput, match="unknown key change_class"):
        parse(Asked, {"change_class": "patch"})


def test_a_field_can_be_the_whole_body():
    assert parse(Whole, {"self effect": "crossed"}).words == {"self effect": "crossed"}
    assert plain(Whole(words={"a b": "c"})) == {"a b": "c"}
    assert canonical(Whole(words={"a b": "c"})) == b'{"a b":"c"}'
    with pytest.raises(BadInput, match=r"^a b is 1; it should be text"):
        parse(Whole, {"a b": 1})


@pytest.mark.parametrize(
    "single, pair, climb, stalled, word",
    [
        (0.3, 0.5, 6, False, "deep"),
        (0.34, 0.5, 9, False, "shallow"),
        (0.3, 0.51, 9, False, "shallow"),
        (0.3, 0.5, 5, False, "shallow"),
        (0.3, 0.5, 9, True, "stalled"),
        (0.9, 0.95, 9, True, "shallow"),
    ],
)
def test_a_task_s_depth_has_one_word(single, pair, climb, stalled, word):
    depth = Depth(single=single, pair=pair, climb=climb, stalled=stalled)
    assert depth.word() == word and f"{climb} certain steps" in depth.describe()
