"""Exports of earlier and later versions: what is compared, what is told as not checked."""

import json
import tarfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from exports import (
    change_cell,
    drop_column,
    fit_manifest,
    read_entries,
    read_rows,
)
from studies import play

from configs.errors import BadInput, VerificationFailed
from loop.export import fill
from loop.export.columns import columns
from loop.export.dictionary import dictionary
from loop.export.manifest import DOMAIN, INSTRUMENTS
from loop.export.rows import PlanRow
from loop.export.tables import TABLES
from loop.export.verify import verify_export
from loop.export.write import export
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.keys import signer


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study, and its export."""
    copied(lambda folder: export([play(folder, go)], folder / "out"))
    return tmp_path / "runs" / "t", tmp_path / "out"


PUBLISHED = Path(__file__).parents[1] / "ledgers"
"""Exports of version 1, as they were published."""


@pytest.fixture(params=["orders", "planted"])
def published(request, tmp_path):
    """An export that was published before the data package, one of CSV alone and one with
    Parquet.
    """
    with tarfile.open(PUBLISHED / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path / request.param, filter="data")
    return next((tmp_path / request.param / "exports").iterdir())


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterPlanRow(PlanRow):
    """A plan of a later version."""

    later_text: str | None
    "a column that a later version adds"


@pytest.fixture
def later_version(monkeypatch):
    """Give this version one optional column more, filled in every row with what is redacted."""
    with monkeypatch.context() as patch:
        patch.setitem(TABLES, "plans", LaterPlanRow)
        patch.setattr(fill, "PlanRow", partial(LaterPlanRow, later_text="=new"))
        yield patch


def test_a_published_export_verifies_in_a_version_with_one_more_column(published, later_version):
    note = "columns of a later version left out"
    later = verify_export(published)
    later_version.undo()
    today = verify_export(published)
    assert set(later[note].split(", ")) - set(today[note].split(", ")) == {"plans.later_text"}
    assert {**later, note: ""} == {**today, note: ""}
    assert "plans.later_text" not in {f"{c.table}.{c.column}" for c in dictionary()}


@pytest.mark.parametrize(
    ("table", "column", "cell"),
    [
        ("plans", "gain_metric", "9.5"),
        ("plans", "hypothesis_text", "another"),
        ("jobs", "cpu_us", "1"),
        ("dictionary", "kind", "int"),
        ("redactions", "left_out_count", "77"),
    ],
)
def test_a_changed_cell_of_a_published_export_is_found_in_a_version_with_one_more_column(
    published, later_version, table, column, cell
):
    change_cell(published, table, column, cell)
    with pytest.raises(VerificationFailed, match=rf"{table}.csv is not what the entries give"):
        verify_export(published)


def test_an_export_of_a_later_version_verifies_but_for_the_columns_unknown_here(
    done, later_version
):
    folder, _ = done
    out = folder.parent / "later"
    export([folder], out)
    assert all(row["later_text"] == "'=new" for row in read_rows(out, "plans"))
    assert "plans, later_text" in {row["where"] for row in read_rows(out, "redactions")}
    assert "not checked" not in verify_export(out)
    later_version.undo()
    answer = verify_export(out)
    assert answer["not checked"] == "columns of a later version: plans.later_text"
    assert answer["signed by"] == "1 of 1"
    change_cell(out, "plans", "arm", "other")
    with pytest.raises(VerificationFailed, match=r"plans.csv is not what the entries give"):
        verify_export(out)


def test_a_column_that_may_not_be_missing_and_one_that_the_dictionary_has_alone_are_found(done):
    _, out = done
    kept = (out / "plans.csv").read_bytes()
    drop_column(out, "plans", "sequence")
    with pytest.raises(VerificationFailed, match=r"plans.csv .*the column sequence is missing"):
        verify_export(out)
    (out / "plans.csv").write_bytes(kept)
    drop_column(out, "plans", "verdict")
    with pytest.raises(VerificationFailed, match=r"plans.csv has other columns than dictionary"):
        verify_export(out)
    (out / "plans.csv").write_bytes(kept.replace(b"verdict", b"verdibt", 1))
    fit_manifest(out)
    with pytest.raises(VerificationFailed, match=r"plans.csv has other columns than dictionary"):
        verify_export(out)


def test_a_meaning_that_is_worded_otherwise_today_rests_on_the_signature(published, monkeypatch):
    before = verify_export(published)
    signatures = json.loads((published / "manifest.json").read_bytes())["signatures"]
    column = columns(PlanRow)["arm"]
    monkeypatch.setitem(columns(PlanRow), "arm", replace(column, meaning="another wording"))
    assert verify_export(published) == before
    fit_manifest(published)
    with pytest.raises(VerificationFailed, match=r"dictionary.csv is not signed"):
        verify_export(published)
    fit_manifest(published, signed=signatures)
    assert verify_export(published) == before


def test_an_export_of_another_format_names_the_version_that_made_it(done):
    _, out = done
    told = json.loads((out / "manifest.json").read_bytes())
    (out / "manifest.json").write_bytes(canonical({**told, "format": 3, "made_by": "heirloop 9"}))
    with pytest.raises(BadInput, match="made by 'heirloop 9'; this version reads format 1 and 2"):
        verify_export(out)


@pytest.mark.parametrize("signed", [True, False])
def test_figures_of_an_earlier_edition_stand_as_they_were_signed(done, signed):
    folder, out = done
    told, before = (
        json.loads((out / "manifest.json").read_bytes()),
        (out / "instruments.csv").read_bytes(),
    )
    data = before.replace(b"log-odds", b"some unit", 1)
    assert data != before
    (out / "instruments.csv").write_bytes(data)
    del told["instruments"], told["signatures"]
    told["files"] = {
        n: digest(data) if n == "instruments.csv" else d
        for n, d in told["files"].items()
        if not n.endswith(".parquet")
    }
    for path in out.glob("*.parquet"):
        path.unlink()
    key = signer(keys.load_secret(read_entries(folder)[0].body["secret"]))
    signatures = {told["studies"][0]: key.sign(DOMAIN + canonical(told)).hex()} if signed else {}
    (out / "manifest.json").write_bytes(canonical({**told, "signatures": signatures}))
    said = verify_export(out)["instruments"]
    assert (
        said.startswith(
            "signed as edition 1"
            if signed
            else "not checked, for not every study signed them, as edition 1"
        )
        and "1 of" in said
    )
    later = {**told, "instruments": INSTRUMENTS}
    signatures = {told["studies"][0]: key.sign(DOMAIN + canonical(later)).hex()} if signed else {}
    (out / "manifest.json").write_bytes(canonical({**later, "signatures": signatures}))
    with pytest.raises(
        VerificationFailed, match=r"instruments.csv is not what the entries give: row \d+ differs"
    ):
        verify_export(out)
    (out / "manifest.json").write_bytes(
        canonical({**told, "instruments": INSTRUMENTS + 1, "signatures": {}})
    )
    with pytest.raises(BadInput, match=f"instruments of edition {INSTRUMENTS + 1}"):
        verify_export(out)
