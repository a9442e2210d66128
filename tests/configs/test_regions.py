"""Regions: what a change touches, of what class it is, and what a class does not cover."""

import pytest

from configs.records import find_class, list_beyond, list_changed
from configs.records.regions import split

SOURCE = """\
import os
# region: rate
RATE = 1
# endregion
STEPS = 2
# region: loss
LOSS = 3
# endregion
END = 4
"""
FILE = "models/train.py"
CLASSES = {f"{FILE}#rate": "recipe", f"{FILE}#loss": "structural"}
WHOLE = {**CLASSES, FILE: "patch"}
RATE = ("RATE = 1", "RATE = 9")
LOSS = ("LOSS = 3", "LOSS = 9")
OUTSIDE = ("STEPS = 2", "STEPS = 9")
ENDED = ("RATE = 1\n", "RATE = 1\n# endregion\nSTEPS = 9\n# region: more\n")
RENAMED = ("region: rate", "region: loss")
MERGED = ("# endregion\nSTEPS = 2\n# region: loss\n", "")
MOVED = ("LOSS = 3\n# endregion\n", "# endregion\nLOSS = 3\n")
UNEVEN = ("# region: rate\n", "# region: rate \n")


def changed(*changes):
    text = SOURCE
    for old, new in changes:
        assert text.count(old) >= 1
        text = text.replace(old, new, 1)
    return {FILE: text.encode()}


BEFORE = changed()


def test_a_source_is_its_parts():
    parts = split(SOURCE.encode())
    assert b"".join(part for _, part in parts) == SOURCE.encode()
    assert [name for name, _ in parts] == ["", "rate", "", "loss", ""]


@pytest.mark.parametrize(
    "changes, inside, whole",
    [
        ([RATE], "recipe", "recipe"),
        ([LOSS], "structural", "structural"),
        ([RATE, LOSS], "structural", "structural"),
        ([OUTSIDE], "", "patch"),
        ([OUTSIDE, RATE], "", "patch"),
        ([OUTSIDE, LOSS], "", "structural"),
        ([ENDED], "", "patch"),
        ([RENAMED], "", "patch"),
        ([MERGED], "", "patch"),
        ([MOVED], "", "structural"),
        ([UNEVEN], "", "patch"),
    ],
)
def test_a_change_has_the_highest_class_that_it_touches(changes, inside, whole):
    after = changed(*changes)
    assert find_class(BEFORE, after, WHOLE) == whole
    for classes, wanted in ((CLASSES, inside), (WHOLE, whole)):
        order = ["recipe", "patch", "structural"]
        covering = [
            one for one in order if not list_beyond(one, BEFORE, after, lambda x: x, classes)
        ]
        assert covering == (order[order.index(wanted) :] if wanted else [])


def test_files_that_come_or_go_and_files_without_a_class_are_beyond_each_class():
    for other in ({**BEFORE, "task/more.py": b""}, {**BEFORE, "models/net.py": b"x"}, {}):
        for name in ("recipe", "structural"):
            assert list_beyond(name, BEFORE, other, lambda x: x, CLASSES)
    assert list_changed({FILE: b""}, {}, lambda x: x, CLASSES) == {FILE}


def test_without_regions_nothing_is_read_and_the_table_of_classes_holds():
    def read(name):
        raise AssertionError("read")

    before, after = {FILE: "a", "models/net.py": "b"}, {FILE: "c", "models/net.py": "d"}
    assert list_beyond("recipe", before, after, read, None) == sorted(after)
    assert list_beyond("patch", before, after, read, None) == ["models/net.py"]
    assert list_beyond("structural", before, after, read, None) == []
    assert list_beyond("propose", {}, {"program": "p", "task/x": "q"}, read, None) == ["task/x"]
    assert list_beyond("propose", {}, {"program": "p"}, read, {FILE: "patch"}) == []
    assert list_beyond("promote", before, after, read, {FILE: "patch"}) == sorted(after)
    assert find_class({}, {}) == "recipe"
