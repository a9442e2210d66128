"""The compute statement: complete, recorded, and checked by an outsider with a public key alone."""

import json
from itertools import pairwise

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes import FakeBox
from studies import better, config, entries, gate_of, mandate

from configs.errors import BadInput, VerificationFailed
from configs.records import RESOURCES
from loop.command import main
from loop.facts import statement
from loop.verify import replay
from loop.verify.run import verify
from sandbox import keys
from sandbox.budget import balances
from sandbox.canonical import canonical, digest
from sandbox.charges import settlements
from sandbox.decision import unix
from sandbox.keys import signer

UNITS = tuple(name for name in RESOURCES if name != "gpu_us")
"""All but the time of a GPU: only a study with a device has an account of it."""


@pytest.fixture
def done(tmp_path, go):
    cfg = config(tmp_path, "study.arms=[local,random]", "box.parallel=2")
    mandate(cfg)
    go(cfg, FakeBox(better))
    return cfg, tmp_path / "runs" / "t"


def test_a_statement_adds_up_to_what_the_accounts_spent_in_every_unit(done, go):
    cfg, folder = done
    go(
        cfg,
        FakeBox(better),
        lambda cfg: replay.replay(
            folder, next(e.body["digest"] for e in entries(cfg) if e.kind == "plan")[:12]
        ),
    )
    told = statement.statement([folder])
    (run,) = told["runs"]
    root = gate_of(cfg).ledger.read(balances)["root"]
    for name in UNITS:
        assert (
            told["total"][name]
            == run["total"][name]
            == run["by_account"]["root"][name]
            == root[name]["spent"]
        )
        assert sum(amount[name] for amount in run["by_class"].values()) == root[name]["spent"]
    assert {"recipe", "propose", "replay"} <= set(run["by_class"]) and {
        "tokens",
        "money_micros",
        "wall_us",
    } <= set(told["total"])
    used = {
        name
        for name, cells in gate_of(cfg).ledger.read(balances).items()
        if any(cell["spent"] for cell in cells.values())
    }
    assert set(run["by_account"]) == used and run["peak_bytes"] > 0
    assert told["first_entry"] == entries(cfg)[0].time and run["head"] == entries(cfg)[-1].hash


def test_peaks_are_the_most_jobs_at_a_time_and_the_hour_with_the_most_cpu(done):
    cfg, folder = done
    book = entries(cfg)
    at, most = 0, 0
    for e in book:
        at += (e.kind == "start") - (e.kind == "job")
        most = max(most, at)
    told = statement.statement([folder])
    assert 1 <= told["peak_jobs"] <= 2 and told["peak_jobs"] == most
    hours = {e.time[:13] for e, _ in settlements(book)}
    assert told["peak_hour"] in hours and 0 < told["peak_hour_cpu_us"] <= told["total"]["cpu_us"]
    assert statement.statement([folder, folder])["peak_jobs"] == 2 * most  # runs side by side


def test_periods_add_up_and_a_time_that_is_none_is_refused(done):
    cfg, folder = done
    settled = list(settlements(entries(cfg)))
    first = next(i for i, (_, fact) in enumerate(settled) if fact.spent.cpu_us)
    moments = [e for e, _ in settled[first:]]
    before, after = next((a, b) for a, b in pairwise(moments) if unix(a) < unix(b))
    early, late = (
        statement.statement([folder], until=before.time),
        statement.statement([folder], since=after.time),
    )
    whole = statement.statement([folder])["total"]
    assert {name: early["total"][name] + late["total"][name] for name in UNITS} == whole and early[
        "total"
    ]["cpu_us"] > 0
    nothing = statement.statement([folder], since="2999-01-01")
    assert nothing["total"] == dict.fromkeys(UNITS, 0) and nothing["peak_jobs"] == 0
    with pytest.raises(BadInput, match="--since is 'soon'"):
        statement.statement([folder], since="soon")


def test_an_outsider_checks_it_with_the_public_key_alone_and_it_is_an_entry(
    done, tmp_path, monkeypatch
):
    cfg, folder = done
    run = CliRunner().invoke(main.cli, ["compute", str(folder)])
    (tmp_path / "statement.json").write_text(run.output)
    (entry,) = [e for e in entries(cfg) if e.kind == "compute"]
    public = entries(cfg)[0].body["checkpoint_key"]
    assert (
        entry.body["digest"] == digest(run.output.strip().encode())
        and entry.body["public"] == public
    )
    verify(folder)
    monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "elsewhere"))
    folder.rename(tmp_path / "gone")
    check = ["compute", "--check", str(tmp_path / "statement.json"), "--public"]
    assert (
        json.loads(CliRunner().invoke(main.cli, [*check, public]).output)["runs"][0]["name"] == "t"
    )
    for bad in ("0" * 64, "x"):
        assert isinstance(CliRunner().invoke(main.cli, [*check, bad]).exception, VerificationFailed)
    (tmp_path / "statement.json").write_text(run.output.replace('"sig":"', '"sig":"00'))
    assert isinstance(CliRunner().invoke(main.cli, [*check, public]).exception, VerificationFailed)
    assert isinstance(CliRunner().invoke(main.cli, ["compute"]).exception, BadInput)


def test_a_signed_statement_whose_parts_do_not_add_up_is_refused(done):
    cfg, folder = done
    root = entries(cfg)[0].body
    key = signer(keys.load_secret(root["secret"]))
    told = {**statement.statement([folder]), "public": root["checkpoint_key"]}
    assert statement.check(keys.sign(told, key, "compute"), root["checkpoint_key"])
    for bad in ({"total": {**told["total"], "cpu_us": 1}}, {"runs": []}, {"public": "0" * 64}):
        with pytest.raises(VerificationFailed, match="add up"):
            statement.check(keys.sign({**told, **bad}, key, "compute"), root["checkpoint_key"])
    other = Ed25519PrivateKey.generate()
    with pytest.raises(VerificationFailed):
        statement.check(keys.sign(told, other, "compute"), root["checkpoint_key"])
    assert len(canonical(told)) < statement.MOST_BYTES
