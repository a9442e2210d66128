"""What an export holds back, and until when."""

import json
import re

import pytest
from exports import (
    fit_manifest,
    read_entries,
    read_rows,
    read_text,
)
from fakes import FakeBox
from studies import SCRIPT, approve, better, config, play

from configs.entries import unflatten
from configs.errors import NeedsHuman, VerificationFailed
from loop.export import redact
from loop.export.columns import columns
from loop.export.redact import close_entries
from loop.export.tables import TABLES
from loop.export.verify import verify_export
from loop.export.write import csv_bytes, export, mirror_tables, tabulate
from loop.unseal import unseal
from sandbox import keys
from sandbox.canonical import canonical
from sandbox.ledger import Ledger


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study, and its export."""
    copied(lambda folder: export([play(folder, go)], folder / "out"))
    return tmp_path / "runs" / "t", tmp_path / "out"


def test_what_a_closed_entry_shows_rests_on_the_signature_alone_and_the_signature_holds_it(done):
    """The time of a closed start, forged with its tables and the manifest: the key's signature
    finds it, an unsigned export cannot. What other entries repeat of a start is held to them.
    """
    folder, out = done
    path, signature = (
        next(out.glob("entries-*")),
        json.loads((out / "manifest.json").read_bytes())["signatures"],
    )
    lines = path.read_bytes().split(b"\n")
    at = next(i for i, line in enumerate(lines) if b'"closed"' in line)
    (told,) = re.findall(rb'"time":"[^"]*\.(\d{3})\+', lines[at])
    later = b"%03d" % ((int(told) + 1) % 1000)
    lines[at] = lines[at].replace(b"." + told + b"+", b"." + later + b"+")
    path.write_bytes(b"\n".join(lines))
    forged = tabulate({read_entries(folder)[0].hash: redact.read(path.read_bytes())})
    for table in ("jobs", "instruments"):
        rows = csv_bytes(columns(TABLES[table]), forged[table])
        (out / f"{table}.csv").write_bytes(rows)
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
    fit_manifest(out, signed=signature)
    with pytest.raises(VerificationFailed, match=r"manifest.json is not signed by the study"):
        verify_export(out)
    fit_manifest(out)
    assert verify_export(out)["signed by"] == "0 of 1"


def test_no_seed_no_secret_and_no_stored_byte_is_in_an_export(done, monkeypatch):
    folder, out = done
    seeds = {str(e.body["job"]["order"]["seed"]) for e in read_entries(folder) if e.kind == "start"}
    told = read_text(out)
    assert len(seeds) > 10 and not any(seed in told for seed in seeds)
    secret = keys.load_secret(read_entries(folder)[0].body["secret"])
    assert secret.hex() not in told and secret not in told.encode()
    assert not any((out / p.name).exists() for p in (folder / "store").rglob("*"))
    monkeypatch.setattr(redact, "_without", lambda body, why, objective: body)
    export([folder], out.parent / "ablated")
    assert all(seed in read_text(out.parent / "ablated") for seed in seeds)


def test_a_running_study_shows_rounded_feedback_and_answers_and_keeps_its_figures_closed(
    tmp_path,
    go,
):
    folder = play(tmp_path, go, jobs=60)
    found = read_entries(folder)
    hidden = [e.body["scores"] for e in found if e.kind == "score"]
    assert {s["split"] for s in hidden} == {"feedback", "confirm"} and "end" not in {
        e.kind for e in found
    } > {"verdict"}
    export([folder], tmp_path / "out")
    assert verify_export(tmp_path / "out")["studies"] == 1
    told = read_text(tmp_path / "out")
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
    shown_rows = read_rows(tmp_path / "out", "replicates")
    assert {bool(r["rounded_metric"]) for r in shown_rows if r["split"] == "confirm"} == {False}
    assert {
        len(r["rounded_metric"]) <= 4 and bool(r["rounded_metric"])
        for r in shown_rows
        if r["split"] == "feedback"
    } == {True}
    assert not any(r["exact_match_share"] for r in shown_rows)
    verdicts = [r for r in read_rows(tmp_path / "out", "plans") if r["verdict"]]
    assert verdicts and not any(
        r["gain_metric"] or r["evidence_p"] or r["corrected_gain_metric"] for r in verdicts
    )
    closed = {
        r["what"]: int(r["left_out_count"])
        for r in read_rows(tmp_path / "out", "redactions")
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
        for e in read_entries(folder)
        if e.kind == "plan" and e.body["plan"]["purpose"] == "unseal"
    ]
    approve(cfg, asked, "unseal")
    go(cfg, FakeBox(better), lambda _: unseal(folder))
    export([folder], tmp_path / "out")
    verify_export(tmp_path / "out")
    sealed = [r for r in read_rows(tmp_path / "out", "replicates") if r["split"] == "sealed"]
    assert sealed and not any(r["exact_match_share"] or r["rounded_metric"] for r in sealed)
    (opening,) = [r for r in read_rows(tmp_path / "out", "looks") if r["opened"] == "true"]
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
    assert {e.kind for e in running.entries if running.closed.get(e.place) == "probe"} >= {
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
    return read_entries(tmp_path / "runs" / "t")


def test_an_entry_that_may_not_be_closed_and_one_that_must_be_are_refused(done):
    folder, out = done
    path = next(out.glob("entries-*"))
    lines = path.read_bytes().split(b"\n")
    entries = read_entries(folder)
    verdict = next(e for e in entries if e.kind == "verdict")
    at = verdict.sequence - 1
    body = unflatten([e for e in entries if e.sequence == verdict.sequence])
    assert body["kind"] == "transaction" and body.pop("monotonic_us")  # with its pair's scores
    for why in ("verdict", "seed", "other"):
        closed = {str(verdict.number): why}
        lines[at] = canonical({"closed": closed, "hash": verdict.hash, "entry": body})
        with pytest.raises(
            VerificationFailed, match=f"entry {at + 1} .verdict. is closed as '{why}'"
        ):
            redact.read(b"\n".join(lines))


def test_a_mirror_gets_no_gate_figure_of_a_single_plan(done):
    folder, _ = done
    head, plans = mirror_tables(Ledger.at(folder))["plans"]
    gains = {e.body["verdict"]["gain"] for e in read_entries(folder) if e.kind == "verdict"}
    figures = {
        cell
        for row in plans
        for name, cell in zip(head, row, strict=True)
        if isinstance(cell, float) and not name.endswith("_seconds")  # a stage may take 0.0
    }
    assert gains and not gains & figures and "verdict" in head
