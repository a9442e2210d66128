"""The page for an outsider: it follows from the entries, and is checked from files."""

import json

import pytest
from click.testing import CliRunner
from fakes import FakeBox
from studies import better, config, execute, mandate

from configs.entries import ChampionEntry, facts_of
from configs.errors import VerificationFailed
from loop.command.main import cli
from loop.export import attest
from loop.study import open as study_open
from sandbox import intoto, keys
from sandbox.canonical import canonical
from sandbox.heads import open_ledger


def make(tmp_path):
    cfg = config(tmp_path)
    mandate(cfg)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_open, "make_box", lambda _: FakeBox(better))
        execute(cfg)
    study_open.release_locks()


@pytest.fixture
def page(tmp_path, copied):
    copied(make)
    folder = tmp_path / "runs" / "t"
    statement = attest.attest(folder)
    return folder, statement, intoto.sign(statement, attest.open_own_key(folder))


def test_it_tells_compute_data_keys_stage_and_what_was_not_examined(page):
    folder, statement, _ = page
    told = statement["predicate"]
    champions = facts_of(open_ledger(folder).entries(), ChampionEntry)
    promoted = any(fact.generation > 0 for fact in champions)
    assert told["stage"] == ("promoted" if promoted else "judged") and told["ended"]
    assert told["compute"]["total"]["cpu_us"] > 0 and "recipe" in told["compute"]["by_class"]
    assert {one["source"].split(",")[0] for one in told["data"]} == {
        "held-out questions",
        "training files",
    }
    assert told["sign"] == {
        "sign": "not evaluated",
        "why": "the study registered no warning sign",
    }
    assert told["decisions"].keys() == {"unattended"} and told["verified"]["entries"] > 0
    assert set(attest.UNSEEN) < set(told["not examined"])
    assert "the sealed split: never opened" in told["not examined"]
    quick = attest.attest(folder, check=False)["predicate"]
    assert "was not verified" in quick["not examined"][0] and not quick["verified"]


def test_an_outsider_checks_it_with_the_public_key_and_with_a_copy_of_the_run(page):
    folder, statement, envelope = page
    public = statement["predicate"]["public"]
    assert attest.check(envelope, public) == statement["predicate"]
    assert attest.check(envelope, public, folder) == statement["predicate"]
    open_ledger(folder).append("note", {})  # the run goes on; the page is of its head
    assert attest.check(envelope, public, folder)
    other = keys.public_hex(keys.signer(b"another secret"))
    with pytest.raises(VerificationFailed, match="no page signed by"):
        attest.check(envelope, other)


@pytest.mark.parametrize(
    "part", ["stage", "data", "decisions", "sign", "keys", "counts", "incidents", "not examined"]
)
def test_a_page_that_says_something_else_is_found_by_a_copy_of_the_run(page, part):
    folder, statement, _ = page
    told = statement["predicate"]
    told[part] = "deployed" if isinstance(told[part], str) else [] if part != "sign" else {}
    told[part] = [{"x": 1}] if part in ("keys", "incidents") else told[part]
    envelope = intoto.sign(statement, attest.open_own_key(folder))
    with pytest.raises(VerificationFailed, match=f"give another '{part}'"):
        attest.check(envelope, told["public"], folder)


def test_sums_and_heads_are_checked_without_the_run(page):
    folder, statement, _ = page
    key, public = attest.open_own_key(folder), statement["predicate"]["public"]
    changed = json.loads(json.dumps(statement))
    changed["predicate"]["compute"]["total"]["cpu_us"] += 1
    with pytest.raises(VerificationFailed, match="do not add up"):
        attest.check(intoto.sign(changed, key), public)
    changed = json.loads(json.dumps(statement))
    changed["predicate"]["head"]["sequence"] += 1
    with pytest.raises(VerificationFailed, match="no page on a run: InvalidSignature"):
        attest.check(intoto.sign(changed, key), public)


@pytest.mark.parametrize(
    "odd",
    [
        {"machine": None},
        {"data": [{}]},
        {"sign": []},
        {"mandates": [{"by": "a", "kind": "b", "expires": 2**53 - 1}]},
        {"mandates": [{"by": "a", "kind": "b", "expires": "soon"}]},
        {"not examined": 1},
    ],
)
def test_a_signed_page_of_another_shape_is_refused_in_a_sentence(page, tmp_path, odd):
    """Who signs a page may write what they like into it; it is shown on somebody's terminal."""
    folder, statement, _ = page
    statement["predicate"] |= odd
    path = tmp_path / "page.json"
    path.write_bytes(intoto.sign(statement, attest.open_own_key(folder)))
    words = ["attest", str(path), "--check", statement["predicate"]["public"]]
    run = CliRunner().invoke(cli, words)
    assert isinstance(run.exception, VerificationFailed), run.exception
    assert "no page on a run" in str(run.exception)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"x" * 70_000])
def test_garbage_is_refused_in_a_sentence(data, page):
    _, statement, envelope = page
    with pytest.raises(VerificationFailed):
        attest.check(data, statement["predicate"]["public"])
    for odd in (None, 1, [], {}, {"head": 1}):
        with pytest.raises(VerificationFailed):
            key = keys.signer(b"odd")
            changed = intoto.sign({**statement, "predicate": odd}, key)
            attest.check(changed, keys.public_hex(key))
    assert canonical(json.loads(envelope)) == envelope
