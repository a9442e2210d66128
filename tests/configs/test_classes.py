"""The table of change classes, and the configuration that is keyed by it."""

from typing import get_args

import pytest

from configs.errors import BadInput
from configs.records import ACTS, CHANGE_CLASSES, CLASSES, ClassName
from loop.settings import compose_settings
from sandbox.decision import decided

DECIDED = {
    "budgets-v1": "a6b4a42d7f4a6128784c210adbf156d5d997363df0555052ffaa5ced45633afc",
    "closure-v1-short": "2cd58aa06335c6cd7134664e5e06eddf732cdccd4f1579c7d4af4dbfd6682f5a",
    "closure-v1": "3d6d6f6b9b9998a38149ebc57d01155dea78701e6dc4356ad8b17381ab210059",
    "evolve": "ffa31d53ee5002c847fd4d0edb260e6fc0907da3e4b2eae1098a70532520db75",
    "lossy-v1-short": "2476247570b3691649c9dc2b82e6454143164dcd246343008efc5154e7615bf1",
    "lossy-v1": "d7858108c54b8486d4fde4556a0e71981de6530f164e33295651ffdeb0f7f48f",
    "nulls-v1": "b2571e872768fff69e6a7a3bb655777a6fae672fe14774baa915b204bb9a8e19",
    "planted": "c12793d52e81dff4fddf45e57b3a94160d5a3ce39f83d6a8ba5865b881642301",
    "proposers": "d349c93d7f585a4ca03db91b91c145f51046cf1fa46820c64053e3c6ebeb3403",
    "quickstart": "9fabd107726402d6967dc70e035432120831df9f2327fed8564e9ef9d4356cbf",
    "single": "207af3b300d869e54262b4695f4734f7d5ff1ee6d89155d05ffb6da7cb93a327",
}
"""Study preset -> digest of the part that people decide, as earlier versions computed it."""


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
