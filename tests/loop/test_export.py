"""Exports: what they hold, what they hold back, and that no byte of them changes unseen. Runs on a
box that computes nothing.
"""

import csv
import json
import random
import shutil
import sys
import tarfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes import FakeBox, written
from studies import SCRIPT, approve, better, config, play

from configs.entries import SessionEntry
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from loop.command import main
from loop.export import fill, redact
from loop.export.columns import CLIP, columns, shown
from loop.export.dictionary import PACKAGE, dictionary, read_package, unit
from loop.export.manifest import DOMAIN, INSTRUMENTS
from loop.export.redact import close_entries
from loop.export.rows import PlanRow
from loop.export.tables import TABLES
from loop.export.verify import verify_export
from loop.export.write import csv_bytes, export, mirror_tables, tabulate
from loop.instruments.measure import flatten, measure
from loop.propose.table import PROPOSERS
from loop.study.root import places, signer
from loop.unseal import unseal
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.ledger import ENTRIES, Ledger, checkpoint


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study, and its export."""
    copied(lambda folder: export([play(folder, go)], folder / "out"))
    return tmp_path / "runs" / "t", tmp_path / "out"


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def recorded(folder):
    return Ledger.file(folder / "ledger.sqlite").entries()


def repaired(folder, *, signed=None):
    """Make the manifest fit the files, as somebody without the key would: unsigned, or with a
    signature that somebody gave.
    """
    told = json.loads((folder / "manifest.json").read_bytes())
    told["files"] = {name: digest((folder / name).read_bytes()) for name in told["files"]}
    (folder / "manifest.json").write_bytes(canonical({**told, "signatures": signed or {}}))


def flipped(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_an_export_verifies_without_its_run_its_secret_and_its_keys(done, tmp_path):
    folder, out = done
    shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "home")
    told = verify_export(out)
    assert (
        told["signed by"] == "1 of 1"
        and told["signed heads"] >= 1
        and told["Parquet read back"] == "10 of 10"
    )
    assert told["closed entries"] == len(
        [
            e
            for e in redact.read(next(out.glob("entries-*")).read_bytes()).entries
            if e.kind == "start"
        ]
    )


def test_the_tables_hold_every_observation_of_the_ledger_once(done):
    folder, out = done
    found = recorded(folder)
    count = {
        kind: sum(e.kind == kind for e in found)
        for kind in ("plan", "score", "job", "look", "decision", "incident", "invalid")
    }
    assert (
        len(rows(out, "plans")) == count["plan"] + count["invalid"]
        and len(rows(out, "replicates")) == count["score"]
    )
    assert (
        len(rows(out, "jobs")) == count["job"]
        and len(rows(out, "looks")) == count["look"]
        and len(rows(out, "decisions")) == count["decision"]
    )
    assert sum(int(r["cpu_us"]) for r in rows(out, "jobs")) == sum(
        e.body["result"]["charged"]["cpu_us"] for e in found if e.kind == "job"
    )
    (study,) = rows(out, "studies")
    told = json.loads((folder / "summary.json").read_bytes())
    assert study["study"] == told["root"] == found[0].hash and study["ended"] == "true"
    assert int(study["cpu_us"]) == told["accounts"]["root"]["cpu_us"]["spent"]
    verdicts = {e.body["plan"]: e.body["verdict"] for e in found if e.kind == "verdict"}
    assert {r["plan"]: float(r["gain_metric"]) for r in rows(out, "plans") if r["verdict"]} == {
        n: v["gain"] for n, v in verdicts.items()
    }
    scores = {
        (e.body["plan"], e.body["role"], e.body["index"]): e.body["scores"]["exact_match"]
        for e in found
        if e.kind == "score"
    }
    assert {
        (r["plan"], r["role"], int(r["index"])): float(r["exact_match_share"])
        for r in rows(out, "replicates")
    } == scores


def test_the_instruments_are_those_of_the_command_on_the_runs(tmp_path, go):
    folders = [play(tmp_path, go, f"seed-{i}", f"study.seed={i}") for i in (1, 2)]
    other = play(tmp_path, go, "other", "task.planned_cpu_us=2000000")
    export([*folders, other], tmp_path / "out")
    assert verify_export(tmp_path / "out")["studies"] == 3
    for group, runs in (("1", folders), ("2", [other])):
        mine = {
            r["instrument"]: r for r in rows(tmp_path / "out", "instruments") if r["group"] == group
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
        assert text == rows(out, name)
        assert all(table.schema.field(c).metadata[b"meaning"] for c in columns(row))


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


def change_cell(folder, table, column, cell):
    """Change the first cell of a column, and fit the manifest to it."""
    path = folder / f"{table}.csv"
    with path.open(newline="") as file:
        head, *lines = csv.reader(file)
    lines[0][head.index(column)] = cell
    path.write_bytes(csv_bytes(head, lines))
    repaired(folder)


def test_a_published_export_verifies_in_a_version_with_one_more_column(published, later_version):
    later = verify_export(published)
    assert later.pop("columns of a later version left out") == "plans.later_text"
    later_version.undo()
    assert verify_export(published) == later
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
    assert all(row["later_text"] == "'=new" for row in rows(out, "plans"))
    assert "plans, later_text" in {row["where"] for row in rows(out, "redactions")}
    assert "not checked" not in verify_export(out)
    later_version.undo()
    answer = verify_export(out)
    assert answer["not checked"] == "columns of a later version: plans.later_text"
    assert answer["signed by"] == "1 of 1"
    change_cell(out, "plans", "arm", "other")
    with pytest.raises(VerificationFailed, match=r"plans.csv is not what the entries give"):
        verify_export(out)


def drop_column(folder, table, column):
    path = folder / f"{table}.csv"
    with path.open(newline="") as file:
        head, *lines = csv.reader(file)
    at = head.index(column)
    path.write_bytes(csv_bytes(head[:at] + head[at + 1 :], [r[:at] + r[at + 1 :] for r in lines]))
    repaired(folder)


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
    repaired(out)
    with pytest.raises(VerificationFailed, match=r"plans.csv has other columns than dictionary"):
        verify_export(out)


def test_the_data_package_says_of_every_column_what_the_dictionary_says(done):
    _, out = done
    types = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
    described = read_package((out / PACKAGE).read_bytes())
    assert described == {
        (r["table"], r["column"]): (types[r["kind"]], r["may_be_empty"] == "true", r["meaning"])
        for r in rows(out, "dictionary")
    }
    whole = json.loads((out / PACKAGE).read_bytes())
    assert [r["path"] for r in whole["resources"]] == [f"{name}.csv" for name in TABLES]
    for resource in whole["resources"]:
        head = (out / resource["path"]).read_text().splitlines()[0]
        assert [f["name"] for f in resource["schema"]["fields"]] == head.split(",")
    whole["resources"][1]["schema"]["fields"][0]["type"] = "integer"
    (out / PACKAGE).write_text(json.dumps(whole))
    repaired(out)
    with pytest.raises(VerificationFailed, match=r"datapackage.json and dictionary.csv"):
        verify_export(out)
    (out / PACKAGE).write_text("{}")
    repaired(out)
    with pytest.raises(VerificationFailed, match=r"datapackage.json is no data package"):
        verify_export(out)


def test_a_meaning_that_is_worded_otherwise_today_rests_on_the_signature(published, monkeypatch):
    before = verify_export(published)
    signatures = json.loads((published / "manifest.json").read_bytes())["signatures"]
    column = columns(PlanRow)["arm"]
    monkeypatch.setitem(columns(PlanRow), "arm", replace(column, meaning="another wording"))
    assert verify_export(published) == before
    repaired(published)
    with pytest.raises(VerificationFailed, match=r"dictionary.csv is not signed"):
        verify_export(published)
    repaired(published, signed=signatures)
    assert verify_export(published) == before


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


@pytest.mark.parametrize("place", ["first", "last", "anywhere"])
def test_one_flipped_bit_in_any_file_is_found_and_the_file_is_named(done, place):
    _, out = done
    rng, files = random.Random(place), sorted(p for p in out.iterdir())
    assert len(files) == 2 * len(TABLES) + 5
    for path in files:
        data = path.read_bytes()
        at = {"first": 0, "last": len(data) - 1, "anywhere": rng.randrange(len(data))}[place]
        flipped(path, at)
        with pytest.raises(
            VerificationFailed, match="manifest.json" if path.name == "manifest.json" else path.name
        ):
            verify_export(out)
        path.write_bytes(data)
    verify_export(out)


def test_a_flipped_bit_is_found_where_the_manifest_was_made_to_fit_as_well(done):
    """The ablation of the manifest: the chain, the heads and the tables find it by themselves."""
    _, out = done
    rng, kept = random.Random(7), (out / "manifest.json").read_bytes()
    for path in sorted(p for p in out.iterdir() if p.suffix in (".csv", ".jsonl")):
        data = path.read_bytes()
        for at in (0, rng.randrange(len(data)), len(data) - 1):
            flipped(path, at)
            repaired(out)
            with pytest.raises(VerificationFailed, match=path.name):
                verify_export(out)
            path.write_bytes(data)
    repaired(out, signed=json.loads(kept)["signatures"])
    assert (out / "manifest.json").read_bytes() == kept
    verify_export(out)


def test_a_changed_value_in_parquet_is_found_where_the_manifest_was_made_to_fit_as_well(done):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    _, out = done
    path = out / "jobs.parquet"
    table = parquet.read_table(path)
    values = table.column("cpu_us").to_pylist()
    at = table.column_names.index("cpu_us")
    parquet.write_table(
        table.set_column(at, table.schema.field(at), pa.array([values[0] + 1, *values[1:]])), path
    )
    repaired(out)
    with pytest.raises(VerificationFailed, match=r"^jobs.parquet is not what the entries give$"):
        verify_export(out)


def test_every_line_of_the_entries_is_bound_by_the_chain_whether_open_or_closed(done):
    """Each line's own bytes, for an open one; for a closed one its hash. The manifest fits every
    time.
    """
    _, out = done
    path = next(out.glob("entries-*"))
    data = path.read_bytes().split(b"\n")[:-1]
    for number in range(0, len(data) - 1, 7):
        line = data[number]
        if b'"closed"' in line:
            found = json.loads(line)
            changed = canonical({**found, "hash": digest(found["hash"])})
        else:
            changed = canonical({**json.loads(line), "monotonic_us": 1})
        path.write_bytes(b"\n".join([*data[:number], changed, *data[number + 1 :], b""]))
        repaired(out)
        with pytest.raises(
            VerificationFailed,
            match=(
                rf"{path.name}: entry {number + 2} .*the chain breaks there|entry 1 is not the"
                r" study root"
            ),
        ):
            verify_export(out)


def test_a_cut_tail_is_found_and_so_is_one_cut_together_with_its_signed_heads(done):
    _, out = done
    entries, heads = next(out.glob("entries-*")), next(out.glob("heads-*"))
    lines, signed = (
        entries.read_bytes().splitlines(keepends=True),
        heads.read_bytes().splitlines(keepends=True),
    )
    entries.write_bytes(b"".join(lines[:-1]))
    repaired(out)
    with pytest.raises(
        VerificationFailed,
        match=rf"{heads.name} .*entries {len(lines)} to {len(lines)} are missing",
    ):
        verify_export(out)
    end = next(i for i, line in enumerate(lines) if b'"kind":"end"' in line)
    for count, said in (
        (len(lines), "holds no signed head over entry"),
        (end, "is open; it should be closed as"),
    ):
        kept = [line for line in signed if json.loads(line)["sequence"] <= end]
        entries.write_bytes(b"".join(lines[:count]))
        heads.write_bytes(b"".join(kept))
        repaired(out)
        with pytest.raises(VerificationFailed, match=said):
            verify_export(out)
    entries.write_bytes(b"".join(lines)[:-1])
    repaired(out)
    with pytest.raises(VerificationFailed, match="cut there"):
        verify_export(out)
    heads.write_bytes(b"")
    entries.write_bytes(b"".join(lines))
    repaired(out)
    with pytest.raises(VerificationFailed, match="holds no signed head; the tail"):
        verify_export(out)


def test_what_a_closed_entry_shows_rests_on_the_signature_alone_and_the_signature_holds_it(done):
    """An attempt number of a closed start, forged with its table and the manifest: the key's
    signature finds it, an unsigned export cannot.
    """
    folder, out = done
    path, signature = (
        next(out.glob("entries-*")),
        json.loads((out / "manifest.json").read_bytes())["signatures"],
    )
    lines = path.read_bytes().split(b"\n")
    at = next(i for i, line in enumerate(lines) if b'"closed"' in line)
    lines[at] = lines[at].replace(b'"attempt":0', b'"attempt":1')
    path.write_bytes(b"\n".join(lines))
    forged = tabulate({recorded(folder)[0].hash: redact.read(path.read_bytes())})
    (out / "jobs.csv").write_bytes(csv_bytes(columns(TABLES["jobs"]), forged["jobs"]))
    for name in out.glob("*.parquet"):
        name.unlink()
    told = json.loads((out / "manifest.json").read_bytes())
    (out / "manifest.json").write_bytes(
        canonical(
            {
                **told,
                "files": {n: d for n, d in told["files"].items() if not n.endswith(".parquet")},
            }
        )
    )
    repaired(out, signed=signature)
    with pytest.raises(VerificationFailed, match=r"manifest.json is not signed by the study"):
        verify_export(out)
    repaired(out)
    assert verify_export(out)["signed by"] == "0 of 1"


def test_another_key_signs_no_manifest_and_a_file_more_or_less_is_found(done):
    _, out = done
    told = json.loads((out / "manifest.json").read_bytes())
    other = (
        signer(b"x" * 32)
        .sign(DOMAIN + canonical({k: v for k, v in told.items() if k != "signatures"}))
        .hex()
    )
    repaired(out, signed=dict.fromkeys(told["studies"], other))
    with pytest.raises(VerificationFailed, match="not signed by the study"):
        verify_export(out)
    (out / "more.csv").write_text("x")
    with pytest.raises(VerificationFailed, match=r"more.csv is not in manifest.json"):
        verify_export(out)
    (out / "more.csv").unlink()
    (out / "looks.csv").rename(out.parent / "looks.csv")
    with pytest.raises(VerificationFailed, match=r"looks.csv is missing"):
        verify_export(out)
    (out / "looks.csv").symlink_to(out.parent / "looks.csv")
    with pytest.raises(VerificationFailed, match=r"looks.csv is not the file"):
        verify_export(out)
    (out / "looks.csv").unlink()
    (out / "manifest.json").write_bytes(
        canonical({**told, "files": {n: d for n, d in told["files"].items() if n != "looks.csv"}})
    )
    with pytest.raises(VerificationFailed, match=r"looks.csv is missing"):
        verify_export(out)
    (out / "manifest.json").unlink()
    assert "manifest.json is missing" in str(
        CliRunner().invoke(main.cli, ["verify", str(out)]).exception
    )


@pytest.mark.parametrize(
    "change",
    [
        {"studies": ["../../x"]},
        {"studies": []},
        {"studies": [1]},
        {"files": 3},
        {"files": {}},
        {"more": 1},
        {"instruments": True},
        {"signatures": {"x": "y"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_manifest_that_is_not_one_is_refused_and_leads_nowhere(done, change):
    _, out = done
    told = json.loads((out / "manifest.json").read_bytes())
    (out / "manifest.json").write_bytes(canonical({**told, **change}))
    with pytest.raises(VerificationFailed, match=r"^manifest.json is not as it was written$"):
        verify_export(out)


def test_an_export_of_another_format_names_the_version_that_made_it(done):
    _, out = done
    told = json.loads((out / "manifest.json").read_bytes())
    (out / "manifest.json").write_bytes(canonical({**told, "format": 2, "made_by": "heirloop 9"}))
    with pytest.raises(BadInput, match="made by 'heirloop 9'; this version reads format 1"):
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
    key = signer(keys.load_secret(recorded(folder)[0].body["secret"]))
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
    with pytest.raises(BadInput, match="instruments of edition 3"):
        verify_export(out)


def everything(out):
    """Every byte of an export that can be read as text; Parquet holds the same cells, in its own
    coding.
    """
    return b"".join(p.read_bytes() for p in out.iterdir() if p.suffix != ".parquet").decode()


def test_no_seed_no_secret_and_no_stored_byte_is_in_an_export(done, monkeypatch):
    folder, out = done
    seeds = {str(e.body["job"]["order"]["seed"]) for e in recorded(folder) if e.kind == "start"}
    told = everything(out)
    assert len(seeds) > 10 and not any(seed in told for seed in seeds)
    secret = keys.load_secret(recorded(folder)[0].body["secret"])
    assert secret.hex() not in told and secret not in told.encode()
    assert not any((out / p.name).exists() for p in (folder / "store").rglob("*"))
    monkeypatch.setattr(redact, "_without", lambda body, why, objective: body)
    export([folder], out.parent / "ablated")
    assert all(seed in everything(out.parent / "ablated") for seed in seeds)


def test_a_running_study_shows_rounded_feedback_and_answers_and_keeps_its_figures_closed(
    tmp_path,
    go,
):
    folder = play(tmp_path, go, jobs=60)
    found = recorded(folder)
    hidden = [e.body["scores"] for e in found if e.kind == "score"]
    assert {s["split"] for s in hidden} == {"feedback", "gate"} and "end" not in {
        e.kind for e in found
    } > {"verdict"}
    export([folder], tmp_path / "out")
    assert verify_export(tmp_path / "out")["studies"] == 1
    told = everything(tmp_path / "out")
    figures = [
        repr(s[name]) for s in hidden for name in ("log_odds", "nll", "token_accuracy") if s[name]
    ]
    gains = [
        repr(e.body["verdict"][n])
        for e in found
        if e.kind == "verdict"
        for n in ("gain", "low", "high")
        if e.body["verdict"][n]
    ]
    assert (
        figures
        and gains
        and not any(figure in told for figure in [*figures, *gains] if len(figure) > 5)
    )
    shown_rows = rows(tmp_path / "out", "replicates")
    assert {bool(r["rounded_metric"]) for r in shown_rows if r["split"] == "gate"} == {False}
    assert {
        len(r["rounded_metric"]) <= 4 and bool(r["rounded_metric"])
        for r in shown_rows
        if r["split"] == "feedback"
    } == {True}
    assert not any(r["exact_match_share"] for r in shown_rows)
    verdicts = [r for r in rows(tmp_path / "out", "plans") if r["verdict"]]
    assert verdicts and not any(
        r["gain_metric"] or r["evidence_p"] or r["corrected_gain_metric"] for r in verdicts
    )
    closed = {
        r["what"]: int(r["left_out_count"])
        for r in rows(tmp_path / "out", "redactions")
        if ": closed as" in r["what"]
    }
    assert closed["score: closed as score"] == len(hidden) and closed[
        "verdict: closed as verdict"
    ] == len(verdicts)


def test_of_sealed_only_the_effect_leaves(tmp_path, go):
    keys.new_key("ada", "person", "correct horse")
    folder = play(tmp_path, go)
    cfg = config(tmp_path, "study.name=t", "study.generations=3")
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better), lambda _: unseal(folder))
    (asked,) = [
        e.body["digest"]
        for e in recorded(folder)
        if e.kind == "plan" and e.body["plan"]["purpose"] == "unseal"
    ]
    approve(cfg, asked, "unseal")
    go(cfg, FakeBox(better), lambda _: unseal(folder))
    export([folder], tmp_path / "out")
    verify_export(tmp_path / "out")
    sealed = [r for r in rows(tmp_path / "out", "replicates") if r["split"] == "sealed"]
    assert sealed and not any(r["exact_match_share"] or r["rounded_metric"] for r in sealed)
    (opening,) = [r for r in rows(tmp_path / "out", "looks") if r["opened"] == "true"]
    assert (
        float(opening["gain_metric"])
        == json.loads((folder / "summary.json").read_bytes())["openings"][0]["gain"]
    )


def test_probes_of_a_running_study_are_closed_with_all_that_names_them(tmp_path, go):
    found = _with_probes(tmp_path, go)
    running = close_entries([e for e in found if e.kind != "end"])
    probes = {e.body["digest"] for e in found if e.kind == "probe"}
    told = json.dumps([e.body for e in running.entries])
    assert probes and not any(name in told for name in probes)
    assert {running.entries[n - 1].kind for n, why in running.closed.items() if why == "probe"} >= {
        "probe",
        "request",
        "approval",
    }
    ended = close_entries(found)
    assert "probe" not in ended.closed.values()


def _with_probes(tmp_path, go):
    cfg = config(
        tmp_path,
        *SCRIPT,
        "gates.canaries=1",
        "reviewer=fatigue",
        "reviewer.hit_rate=1",
        "reviewer.decay=0",
        "reviewer.false_alarm_rate=0",
    )
    go(cfg, FakeBox(better))
    return recorded(tmp_path / "runs" / "t")


def test_an_entry_that_may_not_be_closed_and_one_that_must_be_are_refused(done):
    folder, out = done
    path = next(out.glob("entries-*"))
    lines = path.read_bytes().split(b"\n")
    entries = recorded(folder)
    at = next(i for i, e in enumerate(entries) if e.kind == "verdict")
    body = {
        "sequence": at + 1,
        "previous": entries[at].previous,
        "kind": "verdict",
        "time": entries[at].time,
        "body": entries[at].body,
    }
    for why in ("verdict", "seed", "other"):
        lines[at] = canonical({"closed": why, "hash": entries[at].hash, "entry": body})
        with pytest.raises(
            VerificationFailed, match=f"entry {at + 1} .verdict. is closed as '{why}'"
        ):
            redact.read(b"\n".join(lines))


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
        r["hypothesis_text"] for r in rows(tmp_path / "out", "plans") if r["purpose"] == "candidate"
    ]
    assert set(cells) == {"⟨U+202E⟩=" + "x" * (CLIP - 2) + "… (1502 characters)"}
    told = [
        r for r in rows(tmp_path / "out", "redactions") if r["where"] == "plans, hypothesis_text"
    ]
    assert [int(r["left_out_count"]) for r in told] == [
        len(cells),
        len(cells),
    ] and long in everything(tmp_path / "out")
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
    ledger = Ledger.file(folder / "ledger.sqlite")
    with ledger._engine.begin() as connection:
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


def test_the_command_verifies_an_export_and_holds_it_against_somebody_s_own_heads(done, tmp_path):
    folder, out = done
    run = CliRunner()
    assert run.invoke(main.cli, ["verify", str(out)]).exit_code == 0
    mine = tmp_path / "mine.jsonl"
    mine.write_bytes((folder / "checkpoints.jsonl").read_bytes())
    assert run.invoke(main.cli, ["verify", str(out), "--heads", str(mine)]).exit_code == 0
    ledger = Ledger.file(folder / "ledger.sqlite")
    ledger.append(SessionEntry(wall_seconds=0))
    checkpoint(
        ledger,
        signer(keys.load_secret(recorded(folder)[0].body["secret"])),
        (mine, *places(folder, recorded(folder)[0].hash)),
    )
    with pytest.raises(VerificationFailed, match="are missing"):
        verify_export(
            out,
            mine,
            # the run went on after this export: whoever holds later heads sees that it is not the
            # newest
        )


def test_a_mirror_gets_no_gate_figure_of_a_single_plan(done):
    folder, _ = done
    head, plans = mirror_tables(Ledger.file(folder / "ledger.sqlite"))["plans"]
    gains = {e.body["verdict"]["gain"] for e in recorded(folder) if e.kind == "verdict"}
    assert (
        gains
        and not gains & {cell for row in plans for cell in row if isinstance(cell, float)}
        and "verdict" in head
    )


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
        entries = len(recorded(folder))
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
