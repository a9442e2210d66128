"""The canaries of a real study are counted with bounds; its secret tells which they are."""

import pytest
from fakes import FakeBox
from studies import SCRIPT, better, bodies, config
from test_damaged import cfg_folder

from configs.errors import BadInput
from loop.gatebench.canaries import list_canaries, measure_canaries


def reviewed(tmp_path, go, *more):
    cfg = config(
        tmp_path,
        *SCRIPT,
        "gates.canaries=1",
        "reviewer=fatigue",
        "reviewer.decay=0",
        "study.generations=3",
        "study.proposals=4",
        *more,
    )
    go(cfg, FakeBox(better))
    return cfg


def test_a_reviewer_who_catches_all_lets_none_escape_and_one_who_sees_nothing_lets_all(
    tmp_path, go
):
    cfg = reviewed(tmp_path, go, "reviewer.hit_rate=1", "reviewer.false_alarm_rate=0")
    told = measure_canaries(cfg_folder(cfg))
    pairs = len(bodies(cfg, "probe")) // 2
    assert (told["escape"]["count"], told["escape"]["of"]) == (0, pairs)
    assert (told["false_block"]["count"], told["false_block"]["of"]) == (0, pairs)
    assert told["detection"]["hits"] == pairs and told["detection"]["passes"] == pairs
    blind = reviewed(tmp_path / "b", go, "reviewer.hit_rate=0", "reviewer.false_alarm_rate=0")
    told = measure_canaries(cfg_folder(blind))
    assert told["escape"]["count"] == told["escape"]["of"] > 0


def test_a_study_without_canaries_says_so(tmp_path, go):
    cfg = config(tmp_path, *SCRIPT)
    go(cfg, FakeBox(better))
    assert list_canaries(cfg_folder(cfg)) == []
    with pytest.raises(BadInput, match="nobody answered a canary"):
        measure_canaries(cfg_folder(cfg))
