"""Write-ups on fabricated tables: a world where findings replicate by law, and one where no gain
does.
"""

import json
from dataclasses import replace
from pathlib import Path

import fabricated
import pytest
from click.testing import CliRunner
from studies import mandate

from configs.build import plain
from configs.errors import BadInput
from loop import session
from loop.command.main import cli
from loop.instruments.run import Run
from loop.instruments.writeups import list_judged, read_claims, read_novelty
from loop.report.paper import write_paper
from loop.settings import compose_settings
from loop.study import open as study_open
from loop.study import tabulated
from sandbox.heads import open_ledger

SMALL = [
    "study=tabulated",
    "study.name=t",
    "study.arms=[random,local]",
    "study.generations=4",
    "study.repeats=3",
    "study.most_changes=1",
    "study.final_replicates=4",
    "study.writeups={pairs: 400, elsewhere: {depth: 2}, levels: [4]}",
    "task.table=fabricated-v1.parquet",
    "task.fixed={depth: 1}",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(table, *overrides):
    """Run a small study on a table; return its record."""
    fabricated.write(Path(), table)
    cfg = compose_settings([*SMALL, *overrides])
    mandate(cfg)
    try:
        session.execute(cfg)
    finally:
        study_open.release_locks()
    return Run(0, open_ledger(Path("runs/t")))


def without_effects(table):
    """Return the table with one law for all recipes: each has the same trainings."""
    first = {(row.level, row.number): row.bits for row in reversed(table.rows)}
    rows = [replace(row, bits=first[row.level, row.number]) for row in table.rows]
    return replace(table, rows=tuple(rows))


def test_where_effects_are_large_and_noise_is_none_every_finding_replicates():
    told = run(fabricated.fabricate(noise=0.0005))
    claims = read_claims(told)
    assert {claim.stated.kind for claim in claims} == {"gain", "elsewhere", "compute"}
    checked = [claim for claim in claims if claim.checked]
    assert len(checked) > 20 and all(claim.holds and claim.replicates for claim in checked)
    assert {claim.stated.above for claim in checked} == {True, False}
    # The table has half of its recipes at four times the compute; the others cannot be checked.
    lost = [claim for claim in claims if not claim.checked]
    assert lost and {claim.stated.kind for claim in lost} == {"compute"}


def test_where_all_recipes_are_alike_no_claimed_gain_replicates():
    """A greedy rule accepts luck, and its write-ups say so much; no fresh seeds bear them out."""
    told = run(without_effects(fabricated.fabricate()), "objective.acceptance=greedy")
    claims = read_claims(told)
    gains = [claim for claim in claims if claim.stated.above and claim.checked]
    assert len(gains) > 10 and any(claim.accepted for claim in gains)
    assert not any(claim.holds or claim.replicates for claim in gains)
    assert all(claim.law == pytest.approx(0, abs=1e-9) for claim in gains)
    others = [claim for claim in claims if not claim.stated.above and claim.checked]
    assert others and all(claim.holds and claim.replicates for claim in others)


def test_the_record_gives_the_same_write_ups_again_and_none_before_the_end():
    told = run(fabricated.fabricate())
    claims, again = (read_claims(told) for _ in range(2))
    assert claims == again
    assert len({claim.plan for claim in claims}) == len(list(list_judged(told)))
    assert len(list(read_novelty(told))) == len(list(list_judged(told)))
    told.facts.closed = False
    assert read_claims(told) == []


def test_what_a_reviewer_sees_names_no_arm_plan_or_verdict():
    claims = read_claims(run(fabricated.fabricate()))
    assert claims
    for claim in claims:
        text = json.dumps(plain(claim.stated))
        assert not any(word in text for word in ("random", "local", claim.plan[:8], "accept"))


def test_a_part_that_carries_nothing_is_found_out_by_taking_it_back():
    """Two changes gain, and `without` says which of them does."""
    told = run(fabricated.fabricate(noise=0.0005), "study.most_changes=2", "task.fixed={depth: 1}")
    parts = [c for c in read_claims(told) if c.stated.kind == "part"]
    worth = {"learning_rate": 0.3, "schedule": 0.2}
    assert parts
    for claim in parts:
        knob = claim.stated.says.split("; without ")[1].split(":")[0]
        assert abs(claim.law) == pytest.approx(worth[knob], abs=0.05)
        assert claim.replicates is (claim.law > 0)


def test_figures_stand_in_the_instruments_and_a_lost_table_gives_none(monkeypatch):
    run(fabricated.fabricate(noise=0.3))
    call = ["instruments", "runs/t", "--json"]
    out = CliRunner().invoke(cli, call, catch_exceptions=False).output
    figures = json.loads(out)["between"]["scientist"]
    assert figures["claims"]["n"] == 3 and 0 < figures["checked"]["value"] < 1
    assert 0 <= figures["care"]["AUROC"]["value"] <= 1
    Path("fabricated-v1.parquet").unlink()
    monkeypatch.setattr(tabulated, "_WORLDS", {})
    out = CliRunner().invoke(cli, call, catch_exceptions=False).output
    assert "scientist" not in json.loads(out)["between"]


def test_the_paper_has_its_parts_figures_and_links(tmp_path):
    run(fabricated.fabricate(noise=0.3))
    page = write_paper(Path("runs/t")).read_text()
    for part in ("Abstract", "Methods", "Results", "Claims and their review", "Limitations"):
        assert f">{part}</h2>" in page
    assert page.count("<svg") == 3 and "does not replicate" in page
    assert "are not on the table, so unchecked" in page
    plans = [part.split("'")[0] for part in page.split("href='#e-plan")[1:]]
    assert plans and all(f"id='e-plan{name}'" in page for name in plans)


def test_the_paper_of_a_study_without_write_ups_says_that_none_was_checked():
    run(fabricated.fabricate(), "study.writeups=null", "study.repeats=1")
    page = write_paper(Path("runs/t")).read_text()
    assert "No write-up was checked" in page and "Limitations" in page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("study.writeups={pairs: 1}", "between 4 and 1000"),
        ("study.writeups={levels: [1]}", "none of them 1"),
        ("study.writeups={levels: [4, 4]}", "without repetition"),
        ("study.writeups={elsewhere: {width: 64}}", "a knob that task.fixed holds"),
        ("study.writeups={elsewhere: {depth: 1}}", "another value than"),
    ],
)
def test_write_ups_that_cannot_be_checked_are_refused(change, says):
    fabricated.write(Path())
    with pytest.raises(BadInput, match=says):
        compose_settings([*(one for one in SMALL if "writeups" not in one), change])


def test_write_ups_need_a_table():
    with pytest.raises(BadInput, match=r"task\.table"):
        compose_settings(["study=quickstart", "+study.writeups={}"])
