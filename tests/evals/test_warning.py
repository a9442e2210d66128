"""The warning sign on planted worlds: what `tests/bench/warning.py` counts, in the small."""

import importlib.util
import sys
from dataclasses import replace

import pytest
from conftest import ROOT

from evals.planted import LAWS, SIGN


@pytest.fixture(scope="module")
def bench():
    place = ROOT / "tests" / "bench" / "warning.py"
    spec = importlib.util.spec_from_file_location("bench_warning", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_warning"] = module  # its records are looked up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_warning"]


def cases(bench):
    return {case.name: case for _, group in bench.list_planted() for case in group}


def test_the_truth_of_a_world_is_its_law_s_arithmetic(bench):
    true = {law.name for law in LAWS.values() if bench.is_true(law)}
    assert true == {"compounding"}
    strong = LAWS["compounding"]
    assert bench.is_true(replace(strong, human=0.4)) and not bench.is_true(
        replace(strong, human=0.51)
    )
    weakest = SIGN.floor / strong.step / (bench.GENERATIONS - 1)
    assert not bench.is_true(replace(strong, mechanism=weakest * 0.99))
    assert bench.is_true(replace(strong, mechanism=weakest * 1.01))


@pytest.mark.parametrize("name", ["compounding", "data-only", "60%", "nothing was deployed"])
def test_the_sign_crosses_where_the_truth_says_so(bench, name):
    case = cases(bench)[name]
    read = bench.read_case(case, SIGN, 20, 1)
    right = {True: "crossed", False: "not crossed", None: "not evaluable"}[case.true]
    assert read == [right] * 20


def test_a_sign_that_takes_any_effect_raises_false_alarms(bench):
    """With its ablation: the floor and the number of repeats keep a sign quiet."""
    null = cases(bench)["null"]
    loose = replace(SIGN, repeats=1, floor=0.0)
    assert bench.read_case(null, loose, 20, 1).count("crossed") > 15
    assert bench.read_case(null, SIGN, 20, 1).count("crossed") == 0


def test_a_rate_has_the_exact_interval(bench):
    assert bench.tell_rate(0, 10) == "0.0 % (0.0 to 30.8)"  # 1 - 0.025 ** (1 / 10)


def test_the_self_effect_of_a_repeat_leaves_the_placebo_out(bench):
    cells = {(8, 8, False): 5.0, (0, 8, False): 3.0, (8, 8, True): -9.0, (0, 0, False): 1.0}
    skills = [
        bench.Skill(repeat=r, recipe=a, history=b, scrambled=c, value=value + r)
        for (a, b, c), value in cells.items()
        for r in range(2)
    ]
    assert bench.measure_effects(skills) == [2.0, 2.0]
