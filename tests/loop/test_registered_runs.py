"""Registered claims on ledgers: measured after the end, told on every surface."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT
from fakes import FakeBox
from reports import read_report, rows_of, text_of
from studies import better, config, mandate

from configs.arms import ARMS, EVOLVING, SELECTING
from configs.errors import BadInput
from configs.settings.claims import INSTRUMENTS, Claim
from evals.amplify import Skill
from evals.arms import Gain
from evals.pace import Effort
from evals.programs import Compared
from loop.command import main
from loop.export.write import export
from loop.instruments.gather import Records
from loop.instruments.measure import flatten, measure, measure_records
from loop.report import make
from loop.settings import compose_settings
from sandbox import keys

SAID = (
    "[{name: it gains, instrument: 'arms, local, gain', asks: above, bound: 0, smallest: 0.2},"
    " {name: no wild promise, instrument: 'arms, local, calibration bias', asks: equivalent,"
    " bound: 0.05}]"
)


def cli(*words):
    return CliRunner().invoke(main.cli, list(words), catch_exceptions=False).output


@pytest.fixture
def records(tmp_path):
    """Twelve repeats: self gains 1, random 0.5, every other arm as much as self."""
    rng = np.random.default_rng(3)
    nobody = Effort(decisions=(0,), minutes=(0.0,), queue_seconds=(0.0,))
    gains = [
        Gain(
            arm=arm,
            repeat=repeat,
            generation=1,
            planned_cpu_us=10**6,
            value=(0.5 if arm == "random" else 1.0) + 0.1 * rng.standard_normal(),
        )
        for arm in (*ARMS, "random")
        for repeat in range(12)
    ]
    skills = [
        Skill(
            repeat=repeat,
            recipe=recipe,
            history=history,
            scrambled=scrambled,
            value=recipe + rng.standard_normal(),
        )
        for recipe, history, scrambled in (
            (0, 0, False),
            (0, 1, False),
            (1, 1, False),
            (1, 1, True),
        )
        for repeat in range(12)
    ]
    return Records(
        config=config(tmp_path),
        gains=tuple(gains),
        events={},
        plans={},
        held={},
        effort=nobody,
        efforts={},
        simulated={},
        acts=0,
        lived=0,
        skills=tuple(skills),
        selected={
            arm: tuple(replace(one, value=one.value + rng.standard_normal()) for one in skills)
            for arm in SELECTING
        },
        programs={
            arm: tuple(
                Compared(repeat=one, gain=gain, promised=2 * gain, programs=5, usable=0.5)
                for one, gain in enumerate(0.3 + 0.01 * rng.standard_normal(12))
            )
            for arm in EVOLVING
        },
        tops={},
        clock=(),
    )


def claiming(records, *claims):
    """Return the records of a study that made these claims, whatever its arms."""
    settings = replace(records.config)
    object.__setattr__(settings, "study", replace(settings.study, claims=claims))
    return replace(records, config=settings)


def test_each_instrument_of_the_list_is_measured_and_can_be_decided_on(records):
    between = [path for path in INSTRUMENTS if path.startswith("between, ")]
    # These are told from plans, services, write-ups or withdrawals, which these records have not.
    plans = ("parallel", "keeping", "evolve", "factory", "scientist", "withdrawn")
    told = [path for path in between if not any(word in path for word in plans)]
    paths = [path.format(arm="random") for path in told]
    claims = [
        Claim(name=path, instrument=path, asks="above", bound=-9.0, smallest=1.0) for path in paths
    ]
    rows = measure_records(claiming(records, *claims))["claims"]
    assert len(rows) > 10
    assert [row["name"] for row in rows if row["reads"] != "shown" or row["p"] is None] == []


def test_claims_are_decided_on_as_a_family_in_the_figures_unit(records):
    refit, random = (
        Claim(name=arm, instrument=f"self minus {arm}", asks="above", bound=0.0, smallest=0.4)
        for arm in ("refit", "random")
    )
    same = Claim(name="same", instrument="self minus refit", asks="equivalent", bound=0.2)
    figures = measure_records(claiming(records, refit, random, same))
    by_name = {row["name"]: row for row in figures["claims"]}
    assert [by_name[name]["reads"] for name in ("refit", "random", "same")] == [
        "not shown",
        "shown",
        "equivalent",
    ]
    between = figures["between"]["self minus random"]
    row = by_name["random"]
    assert (row["value"], row["low"], row["unit"]) == tuple(
        between[key] for key in ("value", "low", "unit")
    )
    assert row["p_family"] == pytest.approx(3 * row["p"]) and row["power"] > 0.9
    assert next(iter(figures)) == "claims"


def test_a_study_tells_its_claims_before_it_runs_and_after_it_ended(tmp_path, go):
    said = f"+study.claims={SAID}"
    dry = cli("run", "--dry", "study=single", said, f"runs={tmp_path}")
    assert "it gains" in dry and "arms, local, gain above 0, by 0.2 or more" in dry
    assert "within 0.05 of 0" in dry and "freezes these 2 claims" in dry
    assert "no claims are registered" in cli("run", "--dry", "study=single", f"runs={tmp_path}")
    sign = "+study.warning={repeats: 8, floor: 0.02, automation: {deploy: 0.5}, cpu_seconds: 100}"
    for more, told in (([], True), (["study.skill_proposals=2"], False)):
        dry = cli("run", "--dry", "study=planted", sign, *more, f"runs={tmp_path}")
        assert ("sign will read `not evaluable`" in dry) == told
    cfg = config(tmp_path, said)
    mandate(cfg)
    go(cfg, FakeBox(better))
    folder = tmp_path / "runs" / "t"
    found = measure([folder])
    assert [row["reads"] for row in found["claims"]] == ["cannot tell", "not measured"]
    assert [row["p_family"] for row in found["claims"]] == [1.0, 1.0]
    names = dict(flatten(found))
    unmeasured = ("sealed", "large", "CPU lost")  # rungs and faults that this study has not
    for path in INSTRUMENTS:
        if path.startswith("arms, {arm}") and not path.endswith(unmeasured):
            assert path.format(arm="local", slice="carries") in names, path
    output = cli("instruments", str(folder))
    assert output.index("it gains") < output.index("arms, local")
    assert "claims, it gains" not in output
    make.again(folder)
    page = read_report(folder)
    assert [row[0] for row in rows_of(page, "claims")] == ["it gains", "no wild promise"]
    assert "0 of 2 registered claims hold" in text_of(page, "believed")
    export([folder], tmp_path / "out", False)
    with (tmp_path / "out" / "instruments.csv").open() as file:
        rows = {row["instrument"]: row for row in csv.DictReader(file)}
    assert rows["claims, it gains"]["reads"] == "cannot tell"
    assert rows["claims, it gains, smallest of interest"]["value"] == "0.2"
    assert rows["claims, it gains, p over the family"]["value"] == "1.0"
    assert rows["claims, it gains, says"]["reads"].startswith("arms, local, gain above 0")
    json.dumps(found, allow_nan=False)


def test_a_claim_on_sealed_begins_with_somebody_who_may_open_it(tmp_path, go):
    """boxed-v1 claimed what nobody could open, and told so a day later."""
    said = (
        '{name: kept, instrument: "arms, local, excess loss, sealed", asks: equivalent, bound: 1}'
    )
    cfg = config(tmp_path, f"+study.claims=[{said}]")
    mandate(cfg)
    with pytest.raises(BadInput, match="'kept'; it should be claims that can be measured: nobody"):
        go(cfg, FakeBox(better))
    keys.new_key("ada", "person", "correct horse")
    assert go(cfg, FakeBox(better))["finished"]


@pytest.mark.parametrize("study", sorted((ROOT / "configs" / "study").glob("*.yaml")))
def test_a_shipped_study_that_claims_sealed_pins_who_opens_it(study):
    cfg = compose_settings([f"study={study.stem}"])
    sealed = [one for one in cfg.study.claims if one.instrument.endswith(", sealed")]
    assert not sealed or cfg.reviewer.policy != "people"


def test_before_the_end_no_claim_is_decided_on(records):
    claim = Claim(
        name="random", instrument="self minus random", asks="above", bound=0.0, smallest=0.2
    )
    for unfinished in ({"gains": ()}, {"ended": False}):  # one of several runs goes on
        open_study = replace(claiming(records, claim), **unfinished)
        (row,) = measure_records(open_study)["claims"]
        assert (row["reads"], row["value"], row["p"]) == ("not measured", None, None)


def test_who_names_more_or_fewer_runs_than_registered_decides_nothing(records):
    """Runs added until a claim is shown would show it: the number stands in the study root."""
    claim = Claim(
        name="random", instrument="self minus random", asks="above", bound=0.0, smallest=0.2
    )
    for named in (1, 3):
        effort = replace(records.effort, decisions=(0,) * named, minutes=(0.0,) * named)
        effort = replace(effort, queue_seconds=(0.0,) * named)
        study = claiming(replace(records, effort=effort), claim)
        object.__setattr__(study.config.study, "claim_runs", 2)
        (row,) = measure_records(study)["claims"]
        assert row["reads"] == "not measured"
        object.__setattr__(study.config.study, "claim_runs", named)
        (row,) = measure_records(study)["claims"]
        assert row["reads"] == "shown"
