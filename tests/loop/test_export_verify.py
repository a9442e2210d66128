"""No byte of an export changes unseen, with or without a manifest made to fit."""

import csv
import json
import random
import re
import shutil
import tarfile

import archives
import pytest
from click.testing import CliRunner
from exports import fit_manifest, flip_bit, read_entries
from studies import play

from configs.entries import SessionEntry
from configs.errors import BadInput, VerificationFailed
from loop.command import main
from loop.export import redact
from loop.export.columns import shorten
from loop.export.manifest import DOMAIN
from loop.export.starts import check_starts
from loop.export.tables import TABLES
from loop.export.verify import verify_export
from loop.export.write import export
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.heads import checkpoint, places
from sandbox.keys import signer
from sandbox.ledger import Ledger


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study, and its export."""
    copied(lambda folder: export([play(folder, go)], folder / "out"))
    return tmp_path / "runs" / "t", tmp_path / "out"


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


@pytest.mark.parametrize("place", ["first", "last", "anywhere"])
def test_one_flipped_bit_in_any_file_is_found_and_the_file_is_named(done, place):
    _, out = done
    rng, files = random.Random(place), sorted(p for p in out.iterdir())
    assert len(files) == 2 * len(TABLES) + 5
    for path in files:
        data = path.read_bytes()
        at = {"first": 0, "last": len(data) - 1, "anywhere": rng.randrange(len(data))}[place]
        flip_bit(path, at)
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
        tries = 9 if path.suffix == ".jsonl" else 1
        for at in (0, *(rng.randrange(len(data)) for _ in range(tries)), len(data) - 1):
            flip_bit(path, at)
            fit_manifest(out)
            # The time of a closed start is told by the table that it no longer fits.
            words = f"{path.name}|jobs.csv is not what the entries give"
            with pytest.raises(VerificationFailed, match=words):
                verify_export(out)
            path.write_bytes(data)
    fit_manifest(out, signed=json.loads(kept)["signatures"])
    assert (out / "manifest.json").read_bytes() == kept
    verify_export(out)


def test_any_byte_of_a_closed_start_is_refused_in_a_sentence_or_left_to_the_tables(done):
    """No hash binds such a line, so the reader meets a key that is missing as well."""
    _, out = done
    data = next(out.glob("entries-*")).read_bytes()
    begin = data.index(b'{"closed":"seed"')
    refused = 0
    end = data.index(b"\n", begin)
    for at in range(begin, end):
        changed = bytearray(data)
        changed[at] ^= 1
        try:
            check_starts(redact.read(bytes(changed)))
        except VerificationFailed:
            refused += 1
    # The times of a start, among few others, are told by the tables that they no longer fit.
    assert refused > 0.9 * (end - begin)


def test_without_the_check_of_starts_a_changed_reservation_passes(done, monkeypatch):
    """The ablation: no hash binds the open part of a closed start."""
    _, out = done
    (path,) = out.glob("entries-*")
    data = path.read_bytes()
    kept = (out / "manifest.json").read_bytes()
    line = next(line for line in data.split(b"\n") if line.startswith(b'{"closed":"seed"'))
    changed = re.sub(rb'("reserved":{"cpu_us":)(\d)', lambda m: m[1] + b"9", line, count=1)
    assert changed != line
    path.write_bytes(data.replace(line, changed))
    fit_manifest(out)
    with pytest.raises(VerificationFailed, match="not the one that its grant allows"):
        verify_export(out)
    monkeypatch.setattr("loop.export.verify.check_starts", lambda carried: None)
    verify_export(out)
    path.write_bytes(data)
    (out / "manifest.json").write_bytes(kept)


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
    fit_manifest(out)
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
        fit_manifest(out)
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
    fit_manifest(out)
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
        fit_manifest(out)
        with pytest.raises(VerificationFailed, match=said):
            verify_export(out)
    entries.write_bytes(b"".join(lines)[:-1])
    fit_manifest(out)
    with pytest.raises(VerificationFailed, match="cut there"):
        verify_export(out)
    heads.write_bytes(b"")
    entries.write_bytes(b"".join(lines))
    fit_manifest(out)
    with pytest.raises(VerificationFailed, match="holds no signed head; the tail"):
        verify_export(out)


def test_another_key_signs_no_manifest_and_a_file_more_or_less_is_found(done):
    _, out = done
    told = json.loads((out / "manifest.json").read_bytes())
    other = (
        signer(b"x" * 32)
        .sign(DOMAIN + canonical({k: v for k, v in told.items() if k != "signatures"}))
        .hex()
    )
    fit_manifest(out, signed=dict.fromkeys(told["studies"], other))
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


def test_the_command_verifies_an_export_and_holds_it_against_somebody_s_own_heads(done, tmp_path):
    folder, out = done
    run = CliRunner()
    assert run.invoke(main.cli, ["verify", str(out)]).exit_code == 0
    mine = tmp_path / "mine.jsonl"
    mine.write_bytes((folder / "checkpoints.jsonl").read_bytes())
    assert run.invoke(main.cli, ["verify", str(out), "--heads", str(mine)]).exit_code == 0
    ledger = Ledger.at(folder)
    ledger.append(SessionEntry(wall_seconds=0))
    checkpoint(
        ledger,
        signer(keys.load_secret(read_entries(folder)[0].body["secret"])),
        (mine, *places(folder, read_entries(folder)[0].hash)),
    )
    with pytest.raises(VerificationFailed, match="are missing"):
        verify_export(
            out,
            mine,
            # the run went on after this export: whoever holds later heads sees that it is not the
            # newest
        )


@pytest.fixture
def lean(done, tmp_path):
    """A lean export of the study."""
    folder, whole = done
    export([folder], tmp_path / "lean", parquet=False, lean=True)
    return folder, whole, tmp_path / "lean"


def test_a_lean_export_verifies_by_its_signature_and_names_what_it_left_out(lean, tmp_path):
    _, whole, small = lean
    shutil.rmtree(tmp_path / "home")
    told = verify_export(small)
    assert told["signed by"] == "1 of 1" and "none is computed again" in told["tables"]
    left_out = json.loads((small / "manifest.json").read_bytes())["left_out"]
    assert {name.partition("-")[0].partition(".")[0] for name in left_out} == {
        "entries",
        "jobs",
        "looks",
    }
    for name, expected in left_out.items():
        assert not (small / name).exists()
        assert digest((whole / name).read_bytes()) == expected
    for table in TABLES:
        same = table not in ("redactions", "dictionary", "replicates")
        if f"{table}.csv" not in left_out and same:
            assert (small / f"{table}.csv").read_bytes() == (whole / f"{table}.csv").read_bytes()


def test_a_lean_export_shortens_the_fractions_of_replicates_and_says_so(lean):
    _, whole, small = lean
    long, short = (
        list(csv.DictReader((folder / "replicates.csv").read_text().splitlines()))
        for folder in (whole, small)
    )
    assert len(short) == len(long) > 0
    shortened = 0
    for before, after in zip(long, short, strict=True):
        for name, cell in before.items():
            if cell and name.endswith(("_json", "_bits", "_nats", "_share", "_odds", "_metric")):
                near = pytest.approx(json.loads(cell), rel=6e-6)
                assert json.loads(after[name]) == near, name
            else:
                assert after[name] == cell, name
            shortened += len(after[name]) < len(cell)
    assert shortened > 0
    assert all(len(row["answer_token_nats"].strip("-0.").replace(".", "")) <= 6 for row in short)
    told = list(csv.DictReader((small / "redactions.csv").read_text().splitlines()))
    assert [row["left_out_count"] for row in told if "digits" in row["what"]] == [str(len(long))]


def test_only_long_fractions_are_shortened():
    digest = "12.3456789ab"
    assert shorten(0.1234567891) == 0.123457 and shorten(1 / 3 * 1e-9) == 3.33333e-10
    assert shorten(12345678901) == 12345678901 and shorten(digest) == digest
    assert shorten(None) is None and shorten("a 0.1234567891") == "a 0.1234567891"
    cell = '{"a":1.23456789,"b":[1.5e-7,2.3456789123e-12,-0.987654321],"c":12345678901}'
    want = {"a": 1.23457, "b": [1.5e-7, 2.34568e-12, -0.987654], "c": 12345678901}
    assert json.loads(shorten(cell)) == want
    named = '{"12.3456789ab":1}'
    assert shorten(named) == named


def test_one_flipped_bit_anywhere_in_a_lean_export_is_found(lean):
    _, _, small = lean
    rng = random.Random(5)
    for path in sorted(small.iterdir()):
        data = path.read_bytes()
        flip_bit(path, rng.randrange(len(data)))
        with pytest.raises((VerificationFailed, BadInput)):
            verify_export(small)
        path.write_bytes(data)
    verify_export(small)


def test_a_lean_export_with_a_manifest_made_to_fit_is_refused(lean):
    _, _, small = lean
    path = small / "instruments.csv"
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    fields = json.loads((small / "manifest.json").read_bytes())
    fields["files"]["instruments.csv"] = digest(path.read_bytes())
    (small / "manifest.json").write_bytes(canonical(fields))
    with pytest.raises(VerificationFailed, match="not signed"):
        verify_export(small)
    (small / "manifest.json").write_bytes(canonical({**fields, "signatures": {}}))
    with pytest.raises(VerificationFailed, match="did not sign"):
        verify_export(small)


def test_without_the_study_s_secret_there_is_no_lean_export(done, tmp_path):
    folder, _ = done
    shutil.rmtree(tmp_path / "home")
    with pytest.raises(VerificationFailed):
        export([folder], tmp_path / "lean", parquet=False, lean=True)
    assert not (tmp_path / "lean").exists()


LEAN_ARCHIVES = sorted(name for name in archives.digests() if archives.is_lean(name))


@pytest.mark.parametrize("name", LEAN_ARCHIVES)
def test_a_published_lean_archive_verifies_by_the_signatures_of_its_studies(name, tmp_path):
    with tarfile.open(archives.path_of(name)) as tar:
        tar.extractall(tmp_path, filter="data")
    told = verify_export(tmp_path / name)
    assert told["signed by"] == f"{told['studies']} of {told['studies']}"
