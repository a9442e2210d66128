"""What an export holds: every observation, with types and meanings, as data that nothing runs."""

import json
import sys

import pytest
from click.testing import CliRunner
from exports import fit_manifest, read_entries, read_rows, read_text
from fakes import written
from studies import play

from configs.errors import BadInput, VerificationFailed
from loop.command import main
from loop.export.columns import CLIP, columns, shown
from loop.export.dictionary import PACKAGE, dictionary, read_package, unit
from loop.export.tables import TABLES
from loop.export.verify import verify_export
from loop.export.write import export
from loop.instruments.measure import flatten, measure
from loop.propose.table import PROPOSERS
from sandbox.ledger import ENTRIES, Ledger


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study, and its export."""
    copied(lambda folder: export([play(folder, go)], folder / "out"))
    return tmp_path / "runs" / "t", tmp_path / "out"


def test_the_tables_hold_every_observation_of_the_ledger_once(done):
    folder, out = done
    found = read_entries(folder)
    count = {
        kind: sum(e.kind == kind for e in found)
        for kind in ("plan", "score", "job", "look", "decision", "incident", "invalid")
    }
    assert (
        len(read_rows(out, "plans")) == count["plan"] + count["invalid"]
        and len(read_rows(out, "replicates")) == count["score"]
    )
    assert (
        len(read_rows(out, "jobs")) == count["job"]
        and len(read_rows(out, "looks")) == count["look"]
        and len(read_rows(out, "decisions")) == count["decision"]
    )
    assert sum(int(r["cpu_us"]) for r in read_rows(out, "jobs")) == sum(
        e.body["result"]["charged"]["cpu_us"] for e in found if e.kind == "job"
    )
    (study,) = read_rows(out, "studies")
    told = json.loads((folder / "summary.json").read_bytes())
    assert study["study"] == told["root"] == found[0].hash and study["ended"] == "true"
    assert int(study["cpu_us"]) == told["accounts"]["root"]["cpu_us"]["spent"]
    verdicts = {e.body["plan"]: e.body["verdict"] for e in found if e.kind == "verdict"}
    assert {
        r["plan"]: float(r["gain_metric"]) for r in read_rows(out, "plans") if r["verdict"]
    } == {n: v["gain"] for n, v in verdicts.items()}
    scores = {
        (e.body["plan"], e.body["role"], e.body["index"]): e.body["scores"]["exact_match"]
        for e in found
        if e.kind == "score"
    }
    assert {
        (r["plan"], r["role"], int(r["index"])): float(r["exact_match_share"])
        for r in read_rows(out, "replicates")
    } == scores


def test_the_instruments_are_those_of_the_command_on_the_runs(tmp_path, go):
    folders = [play(tmp_path, go, f"seed-{i}", f"study.seed={i}") for i in (1, 2)]
    other = play(tmp_path, go, "other", "task.planned_cpu_us=2000000")
    export([*folders, other], tmp_path / "out")
    assert verify_export(tmp_path / "out")["studies"] == 3
    for group, runs in (("1", folders), ("2", [other])):
        mine = {
            r["instrument"]: r
            for r in read_rows(tmp_path / "out", "instruments")
            if r["group"] == group
        }
        expected = {name: row for name, row in flatten(measure(runs))}
        assert mine.keys() == expected.keys() and {r["unit"] for r in mine.values()} > {""}
        for name, (value, low, *_) in expected.items():
            if isinstance(value, float) and value == value:
                assert (float(mine[name]["value"]), mine[name]["low"]) == (
                    value,
                    "" if low is None else repr(float(low)),
                )


def test_parquet_holds_what_csv_holds_with_its_types_and_meanings(done):
    parquet = pytest.importorskip("pyarrow.parquet")
    _, out = done
    for name, row in TABLES.items():
        table = parquet.read_table(out / f"{name}.parquet")
        assert (
            table.column_names
            == list(columns(row))
            == (out / f"{name}.csv").read_text().splitlines()[0].split(",")
        )
        text = [
            {
                k: "" if v is None else str(v).lower() if isinstance(v, bool) else str(v)
                for k, v in r.items()
            }
            for r in table.to_pylist()
        ]
        assert text == read_rows(out, name)
        assert all(table.schema.field(c).metadata[b"meaning"] for c in columns(row))


def test_the_data_package_says_of_every_column_what_the_dictionary_says(done):
    _, out = done
    types = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    described = read_package((out / PACKAGE).read_bytes())
    assert described == {
        (r["table"], r["column"]): (types[r["kind"]], r["may_be_empty"] == "true", r["meaning"])
        for r in read_rows(out, "dictionary")
    }
    whole = json.loads((out / PACKAGE).read_bytes())
    assert [r["path"] for r in whole["resources"]] == [f"{name}.csv" for name in TABLES]
    for resource in whole["resources"]:
        head = (out / resource["path"]).read_text().splitlines()[0]
        assert [f["name"] for f in resource["schema"]["fields"]] == head.split(",")
    whole["resources"][1]["schema"]["fields"][0]["type"] = "integer"
    (out / PACKAGE).write_text(json.dumps(whole))
    fit_manifest(out)
    with pytest.raises(VerificationFailed, match=r"datapackage.json and dictionary.csv"):
        verify_export(out)
    (out / PACKAGE).write_text("{}")
    fit_manifest(out)
    with pytest.raises(VerificationFailed, match=r"datapackage.json is no data package"):
        verify_export(out)


def test_the_dictionary_names_every_column_and_every_measured_figure_has_a_unit():
    told = {(c.table, c.column): c for c in dictionary()}
    assert set(told) == {
        (table, column) for table, row in TABLES.items() for column in columns(row)
    }
    assert all(c.meaning and c.meaning[0] != " " for c in told.values())
    for (table, column), c in told.items():
        if c.kind == "float" and table != "instruments":  # their unit is a column beside them
            assert c.unit, f"{table}.{column}"
    assert (
        unit("cpu_us") == "microseconds"
        and unit("exact_match_log_odds") == "log-odds"
        and unit("generation") is None
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("'a", "''a"),
        ("a\tb", "a⟨U+0009⟩b"),
        ("", None),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("two\nlines", "two⟨U+000A⟩lines"),
        ("<script>", "<script>"),
        ("plain, text", "plain, text"),
    ],
)
def test_text_of_a_model_is_shown_as_data(text, expected):
    assert shown(text, "hypothesis_text") == expected


def test_long_text_is_clipped_in_cells_and_counted(tmp_path, go, monkeypatch):
    long = "\u202e=" + "x" * 1500
    text = json.dumps(
        {"hypothesis": long, "knobs": {"depth": 1}, "predicted_gain": None, "edits": []}
    )
    monkeypatch.setitem(PROPOSERS, "local", written(lambda *a, **k: text))
    folder = play(tmp_path, go)
    export([folder], tmp_path / "out")
    cells = [
        r["hypothesis_text"]
        for r in read_rows(tmp_path / "out", "plans")
        if r["purpose"] == "candidate"
    ]
    assert set(cells) == {"⟨U+202E⟩=" + "x" * (CLIP - 2) + "… (1502 characters)"}
    told = [
        r
        for r in read_rows(tmp_path / "out", "redactions")
        if r["where"] == "plans, hypothesis_text"
    ]
    assert [int(r["left_out_count"]) for r in told] == [
        len(cells),
        len(cells),
    ] and long in read_text(tmp_path / "out")
    verify_export(tmp_path / "out")


def test_what_cannot_be_exported_is_refused_in_a_sentence_and_nothing_is_written(done, tmp_path):
    folder, out = done
    with pytest.raises(BadInput, match="which holds something; name a new or empty folder"):
        export([folder], out)
    with pytest.raises(BadInput, match="which holds something"):
        export([folder], out / "README.md")
    with pytest.raises(BadInput, match="name each run once"):
        export([folder, folder], tmp_path / "new")
    with pytest.raises(VerificationFailed, match="there is no ledger at"):
        export([tmp_path / "nowhere"], tmp_path / "new")
    ledger = Ledger.at(folder)
    with ledger.database.engine.begin() as connection:
        connection.execute(ENTRIES.update().where(ENTRIES.c.sequence == 9).values(bytes=b"{}"))
    with pytest.raises(VerificationFailed, match="entry 9 has wrong bytes"):
        export([folder], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_pyarrow_an_export_is_csv_alone_where_that_was_asked_for(
    done, tmp_path, monkeypatch
):
    folder, out = done
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match="--csv-only"):
        export([folder], tmp_path / "new")
    result = CliRunner().invoke(
        main.cli, ["export", str(folder), "--to", str(tmp_path / "new"), "--csv-only", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert (
        not list((tmp_path / "new").glob("*.parquet"))
        and verify_export(tmp_path / "new")["Parquet read back"] == "none in the export"
    )
    assert "pyarrow is not installed" in verify_export(out)["Parquet read back"]


def test_exporting_and_verifying_grow_with_the_ledger_and_not_with_its_square(tmp_path, go):
    """Python calls, not seconds: three times the entries may not cost five times the calls."""
    calls = []
    for generations in (2, 8):
        folder = play(
            tmp_path,
            go,
            f"g{generations}",
            f"study.generations={generations}",
            "budget.jobs=4000",
            "budget.cpu_seconds=9000",
        )
        entries = len(read_entries(folder))
        calls.append(
            (
                entries,
                _calls(
                    lambda f=folder, n=generations: export([f], tmp_path / f"out{n}", parquet=False)
                ),
                _calls(lambda n=generations: verify_export(tmp_path / f"out{n}")),
            )
        )
    (few, export_few, verify_few), (many, export_many, verify_many) = calls
    assert many > 2 * few
    assert (
        export_many / export_few < 1.5 * many / few and verify_many / verify_few < 1.5 * many / few
    )


def _calls(act):
    count = 0

    def seen(*_):
        nonlocal count
        count += 1

    sys.setprofile(seen)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count
