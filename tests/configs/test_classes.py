"""The table of change classes, and the configuration that is keyed by it."""

from types import SimpleNamespace
from typing import get_args

import pytest

from configs.errors import BadInput
from configs.records import ACTS, CHANGE_CLASSES, CLASSES, LATER, ClassName
from loop.settings import compose_settings
from sandbox.decision import decided
from sandbox.gate.decide import find_rule

DECIDED = {
    "budgets-v1": "e9682fc3186b920f6e889acb1955189c369bd1174d63e8a75a540d74213f54c2",
    "closure-v1-short": "0820d7bcb7ba2dcf727708867d6ade668846158fe0254bfe26a8183f2beb9734",
    "closure-v1": "7c18dad5d78ac5e884ae0a66efa7fc731f680c08dd5f9264ff9e28d48f7f17a5",
    "evolve": "c9841470ab48ca951e889ab23dc3c5867c3df3c10e01a018dee7caf73b11a621",
    "lossy-v1-short": "65811463f766cd408ead86e272d6de0262c55102004010bf8a6ba2b35e3a985f",
    "lossy-v1": "f462ff90e57c6cfac044046f2cf236f9933a43a73ee7838009414354666901f8",
    "nulls-v1": "8b1955c6659d3a0e1622025f0922178182f60ffebcf14a98dc966c06433e50cb",
    "planted": "0ba6cd672dd7a45291951676e69251fcff3610cbfcc9321d630a23c9a581aa6c",
    "proposers": "05824d57cd46ac1af658c50d46dca84abc4945018e06c4d106454d2268e26257",
    "single": "04803ab3c810414d11e7bdb74784871ce29f7a903ffcd2b9ad105880269cf19a",
}
"""Study preset -> digest of the part that people decide, as since ledger format 2."""


def test_the_names_and_the_table_of_classes_agree():
    assert get_args(ClassName) == tuple(CHANGE_CLASSES) == CLASSES
    assert ACTS == ("promote", "deploy", "amend", "release", "rollback", "resume")
    assert [name for name, one in CHANGE_CLASSES.items() if one.mandate] == [
        "recipe",
        "patch",
        "structural",
        "proposer",
        "propose",
        "promote",
        "release",
        "rollback",
    ]


@pytest.mark.parametrize("preset", DECIDED)
def test_a_preset_has_the_digest_that_earlier_mandates_were_given_for(preset):
    extra = {"planted": ["box=planted"], "single": ["task=addition-v1"]}.get(preset, [])
    assert decided(compose_settings([f"study={preset}", *extra])) == DECIDED[preset]


def test_a_class_that_is_not_named_is_denied_and_an_unknown_class_is_refused():
    config = compose_settings(["study=quickstart"])
    older = tuple(name for name in CLASSES if name not in LATER)
    assert tuple(config.autonomy.rules) == tuple(config.gates.approve) == older
    rules = SimpleNamespace(rules=SimpleNamespace(config=config))
    assert find_rule(rules, "release") == find_rule(rules, "no such class") == "deny"
    for field in ("autonomy.rules.recipes=deny", "gates.approve.recipes={of: 1}"):
        with pytest.raises(BadInput, match="recipes"):
            compose_settings([f"+{field}"])
