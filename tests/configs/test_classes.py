"""The table of change classes, and the configuration that is keyed by it."""

from typing import get_args

import pytest

from configs.errors import BadInput
from configs.records import ACTS, CHANGE_CLASSES, CLASSES, ClassName
from loop.settings import compose_settings
from sandbox.decision import decided

DECIDED = {
    "budgets-v1": "e9682fc3186b920f6e889acb1955189c369bd1174d63e8a75a540d74213f54c2",
    "closure-v1-short": "0820d7bcb7ba2dcf727708867d6ade668846158fe0254bfe26a8183f2beb9734",
    "closure-v1": "7c18dad5d78ac5e884ae0a66efa7fc731f680c08dd5f9264ff9e28d48f7f17a5",
    "evolve": "642141b8726fe983c2266c2257a55bb59469c2d37300544d5fd0074f93cfe4ac",
    "lossy-v1-short": "65811463f766cd408ead86e272d6de0262c55102004010bf8a6ba2b35e3a985f",
    "lossy-v1": "f462ff90e57c6cfac044046f2cf236f9933a43a73ee7838009414354666901f8",
    "nulls-v1": "8b1955c6659d3a0e1622025f0922178182f60ffebcf14a98dc966c06433e50cb",
    "planted": "186be0d6b2107df56f9286f85e5b7f418a9d2ba35e6bf78a7c4e70de7594ee50",
    "proposers": "4ec7d7e4a67a3ab2c6ec39d5326392750783319ee975582977de1a92b390c793",
    "quickstart": "65aeede4bccf5d2a44bcd55599afa2cf6b7ab4e81e6ab6364f84e5e8016665d4",
    "single": "c31718d226e4f53aa2aeafb8a22de7c2b002fcb7a79b6bf5ce027dd0b1f49345",
}
"""Study preset -> digest of the part that people decide, as since ledger format 2."""


def test_the_names_and_the_table_of_classes_agree():
    assert get_args(ClassName) == tuple(CHANGE_CLASSES) == CLASSES
    assert ACTS == ("promote", "deploy", "amend", "resume")
    assert [name for name, one in CHANGE_CLASSES.items() if one.mandate] == [
        "recipe",
        "patch",
        "structural",
        "proposer",
        "propose",
        "promote",
    ]


@pytest.mark.parametrize("preset", DECIDED)
def test_a_preset_has_the_digest_that_earlier_mandates_were_given_for(preset):
    extra = ["box=planted"] if preset == "planted" else []
    assert decided(compose_settings([f"study={preset}", *extra])) == DECIDED[preset]


def test_a_class_that_is_not_named_is_denied_and_an_unknown_class_is_refused():
    config = compose_settings(["study=quickstart"])
    assert tuple(config.autonomy.rules) == tuple(config.gates.approve) == CLASSES
    for field in ("autonomy.rules.recipes=deny", "gates.approve.recipes={of: 1}"):
        with pytest.raises(BadInput, match="recipes"):
            compose_settings([f"+{field}"])
