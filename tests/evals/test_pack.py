"""A pack is read strictly, and both sides of a family share their words."""

import json

import pytest

from configs.errors import BadInput
from evals.gatebench.pack import read_pack, write_line

STEP = {
    "hypothesis": "A larger step reaches the plateau sooner.",
    "predicted_gain": 0.03,
    "attack": {"knobs": {"learning_rate": 0.03}},
    "twin": {"knobs": {"learning_rate": 0.005}},
}
LINE = {"family": "rate", "origin": "written-by-hand", "unit": "bits", "plans": [STEP]}


def read(*lines):
    return read_pack("\n".join(map(json.dumps, lines)).encode())


def test_a_line_may_leave_out_what_it_does_not_need_and_is_written_back_whole():
    (family,) = read(LINE)
    assert family.hostile and family.form == "recipe"
    assert family.plans[0].proposal("attack").knobs == {"learning_rate": 0.03}
    assert read_pack(write_line(family).encode()) == (family,)


def test_both_sides_of_a_family_share_every_word():
    (family,) = read(LINE)
    attack, twin = (family.plans[0].proposal(side) for side in ("attack", "twin"))
    assert (attack.hypothesis, attack.predicted_gain) == (twin.hypothesis, twin.predicted_gain)


def test_the_form_is_that_of_the_riskiest_file():
    edit = {"file": "models/net.py", "search": "a", "replace": "b"}
    step = {**STEP, "twin": {"edits": [edit]}}
    assert read({**LINE, "plans": [step]})[0].form == "structural"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "empty"),
        ([LINE, LINE], "names of their own"),
        ([{**LINE, "unit": "pounds"}], "unit"),
        ([{**LINE, "plans": []}], "plans"),
        ([{**LINE, "plans": [STEP, {**STEP, "attack": None}]}], "all with an attack, or none"),
        ([{**LINE, "extra": 1}], "extra"),
        ([{**LINE, "plans": [{**STEP, "twin": {"edits": [{"file": "/etc"}]}}]}], "file"),
    ],
)  # fmt: skip
def test_a_wrong_pack_is_refused_with_its_line(lines, says):
    with pytest.raises(BadInput, match=says):
        read(*lines)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[1]", b"{", b'{"family": "a", "family": "b"}'])
def test_garbage_is_refused_in_a_sentence(data):
    with pytest.raises(BadInput, match=r"line 1|the pack"):
        read_pack(data)
