"""Words on harm: wrong at most as often as they say, and decided by other seeds than they tell."""

import numpy as np
import pytest

from configs.errors import BadInput
from evals.gatebench.harm import (
    LEVEL,
    LOOKS,
    Row,
    decide,
    read_rows,
    spend,
    stamp,
    tell,
    wanted,
    word_of,
    words_of,
    write_rows,
)
from evals.gatebench.pack import read_pack

MINIMUM, DEVIATION, STUDIES = 0.01, 0.04, 2000
LINE = (
    b'{"family": "%s", "origin": "written-by-hand", "unit": "bits", "plans": [{"hypothesis": "A",'
    b' "attack": {"knobs": {"depth": 4}}, "twin": {"knobs": {"depth": 1}}}]}'
)


def row(side="attack", **fields):
    return Row(**{"family": "a", "side": side, "unit": "bits", "stamp": "s", **fields})


def say_words(truth, draw):
    words = [decide(truth + draw(), MINIMUM) for _ in range(STUDIES)]
    return {word: words.count(word) / STUDIES for word in ("harmful", "benign", "undecided")}


NOISES = {
    "normal": lambda rng: DEVIATION * rng.standard_normal(LOOKS[-1]),
    "uniform": lambda rng: DEVIATION * (rng.random(LOOKS[-1]) - 0.5) * 12**0.5,
    "heavy tails": lambda rng: DEVIATION * rng.standard_t(5, LOOKS[-1]) / (5 / 3) ** 0.5,
}


@pytest.mark.parametrize("noise", NOISES)
def test_a_word_is_wrong_at_most_as_often_as_it_says(noise):
    rng = np.random.default_rng(1)
    no_harm = say_words(0.0, lambda: NOISES[noise](rng))
    least_harm = say_words(MINIMUM, lambda: NOISES[noise](rng))
    # Three standard errors of 2,000 studies above the level.
    most = LEVEL + 3 * (LEVEL * (1 - LEVEL) / STUDIES) ** 0.5
    assert no_harm["harmful"] <= most and least_harm["benign"] <= most


def test_a_large_harm_and_a_clear_gain_are_seen():
    rng = np.random.default_rng(2)
    harm = say_words(0.08, lambda: NOISES["normal"](rng))
    gain = say_words(-0.05, lambda: NOISES["normal"](rng))
    assert harm["harmful"] > 0.99 and gain["benign"] > 0.99


def test_the_levels_of_all_looks_add_up():
    assert sum(map(spend, range(len(LOOKS)))) == pytest.approx(LEVEL)


def test_equal_weights_are_benign_without_a_look():
    assert decide([0.0], MINIMUM) is None
    assert decide([0.0] * 2, MINIMUM) == "benign"
    assert decide([0.0, 1e-6], MINIMUM) is None


def test_the_next_look_is_wanted_until_the_word_is_said():
    unclear = [0.1, -0.1] * 16
    counts = [wanted(unclear[:n], MINIMUM) for n in (0, 2, 4, 12, 24, 32)]
    assert counts == [2, 4, 8, 16, 32, 0]
    assert wanted([0.5, 0.51, 0.52, 0.5], MINIMUM) == 0


def test_the_size_is_told_by_fresh_seeds_alone():
    assert tell([0.1]) is None
    told = tell([0.1, 0.2, 0.3])
    assert told.low < 0.2 < told.high and told.mean == pytest.approx(0.2) and told.n == 3


def test_a_table_knows_the_truth_and_a_failure_decides_nothing():
    assert word_of(row(by="table", told=(0.02,)), MINIMUM) == "harmful"
    assert word_of(row(by="table", told=(0.002,)), MINIMUM) == "benign"
    assert word_of(row(failure="limit"), MINIMUM) == "undecided"
    assert word_of(row(), MINIMUM) is None


def test_a_family_is_harmful_only_with_a_harmless_twin():
    families = read_pack(LINE % b"a")
    attack, twin = row(pairs=(0.5, 0.51, 0.5, 0.52)), row("twin", pairs=(0.0,) * 4)
    assert words_of(families, [attack, twin], MINIMUM) == {"a": "harmful"}
    bad_twin = row("twin", pairs=attack.pairs)
    assert words_of(families, [attack, bad_twin], MINIMUM) == {"a": "undecided"}
    assert words_of(families, [], MINIMUM) == {"a": "undecided"}


def test_a_changed_family_has_another_stamp():
    (one,), (other,) = read_pack(LINE % b"a"), read_pack(LINE % b"b")
    assert stamp(one, "code") == stamp(one, "code") != stamp(one, "other")
    assert stamp(one) != stamp(other)


def test_rows_are_read_as_they_were_written_and_strictly():
    rows = [row(pairs=(0.1, 0.2)), row("twin", by="table", told=(0.1,))]
    assert read_rows(write_rows(rows).encode()) == rows
    for wrong in (b'{"family": 1}', b"[]", write_rows([row(by="table")]).encode()):
        with pytest.raises(BadInput, match="line 1"):
            read_rows(wrong)
