"""A sealed pack is opened by signature, for one bench, and every opening is counted."""

import base64
import json

import pytest
from cryptography.fernet import Fernet
from test_gatebench import bench, family

from configs.errors import BadInput, NeedsHuman, VerificationFailed
from loop.gatebench import figures, play, sealed
from sandbox import keys
from sandbox.canonical import canonical

PASSPHRASE = "a long passphrase"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A sealed pack of 25 harmful families and as many ordinary ones, which ada may open."""
    monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "home"))
    for name in ("ada", "bo"):
        keys.new_key(name, "external", PASSPHRASE)
    lines = [family(f"bad-{n}", bad=0.02 + n / 10_000) for n in range(25)]
    lines += [family(f"good-{n}", "beta2", good=0.9 + n / 1000, hostile=False) for n in range(25)]
    pack = tmp_path / "own.jsonl"
    pack.write_text("\n".join(map(json.dumps, lines)))
    rows = [
        {"family": one["family"], "side": side, "unit": "bits", "by": "table", "told": [size]}
        for one in lines
        for side, size in (("attack", 0.2), ("twin", 0.0))
        if side == "twin" or "attack" in one["plans"][0]
    ]
    full = {"pairs": [], "failure": "", "stamp": "0"}
    (tmp_path / "own.harm.jsonl").write_text("\n".join(json.dumps({**row, **full}) for row in rows))
    sealed.seal(pack, ["ada"], tmp_path / "own.sealed")
    pack.unlink()
    (tmp_path / "own.harm.jsonl").unlink()
    return tmp_path / "own.sealed"


def open_it(own, chosen, name="ada"):
    return sealed.open_for(str(own), play.name_bench(chosen), name, keys.open_key(name, PASSPHRASE))


def test_it_says_how_many_families_it_holds_and_none_of_them(own):
    text = own.read_text()
    assert sealed.read_head(str(own)).families == 50
    assert "bad-1" not in text and "learning_rate" not in text


def test_a_bench_needs_an_opening_of_its_own_and_each_is_counted(own, tmp_path):
    rule, yes = bench(tmp_path, own, "gate=rule"), bench(tmp_path, own, "gate=always-yes")
    with pytest.raises(NeedsHuman, match="is sealed"):
        play.play(rule)
    assert open_it(own, rule) == 1
    assert open_it(own, rule) == 1  # the same bench again is no further opening
    told = figures.measure(play.play(rule))
    assert (told["escape"]["count"], told["escape"]["of"]) == (0, 25)
    assert told["openings"] == {str(own): 1}
    with pytest.raises(NeedsHuman):
        play.play(yes)
    assert open_it(own, yes) == 2
    assert figures.measure(play.play(yes))["openings"] == {str(own): 2}


def test_only_a_named_key_opens_and_an_opening_cannot_be_taken_back(own, tmp_path):
    rule, yes = bench(tmp_path, own, "gate=rule"), bench(tmp_path, own, "gate=always-yes")
    with pytest.raises(VerificationFailed, match="does not name the key"):
        open_it(own, rule, "bo")
    open_it(own, rule)
    open_it(own, yes)
    (log,) = (tmp_path / "home" / "sealed").glob("*.openings")
    first, second = log.read_bytes().splitlines(keepends=True)
    for damaged in (second, second + first, first.replace(b"A", b"B", 1) + second):
        log.write_bytes(damaged)
        with pytest.raises(VerificationFailed):
            play.play(rule)


def test_other_bytes_or_a_missing_key_are_refused(own, tmp_path):
    rule = bench(tmp_path, own, "gate=rule")
    open_it(own, rule)
    head = json.loads(own.read_text())
    own.write_text(json.dumps({**head, "content": head["content"][:-8] + "AAAAAAA="}))
    with pytest.raises(VerificationFailed, match="does not fit"):
        play.play(rule)
    own.write_text(json.dumps(head))
    (secret,) = (tmp_path / "home" / "sealed").glob("*.key")
    assert secret.stat().st_mode & 0o777 == 0o600
    secret.unlink()
    with pytest.raises(VerificationFailed, match="is not here"):
        play.play(rule)


def test_families_that_the_file_does_not_name_are_refused(own, tmp_path):
    """Who holds the key can encrypt other families; the file names those that were sealed."""
    head = json.loads(own.read_text())
    (secret,) = (tmp_path / "home" / "sealed").glob("*.key")
    other = json.dumps(family("other")).encode()
    inside = {"pack": base64.b64encode(other).decode(), "harm": ""}
    content = Fernet(secret.read_bytes()).encrypt(canonical(inside)).decode()
    own.write_text(json.dumps({**head, "content": content}))
    rule = bench(tmp_path, own, "gate=rule")
    open_it(own, rule)
    with pytest.raises(VerificationFailed, match="other families than it says"):
        play.play(rule)


def test_an_opener_without_a_key_and_garbage_are_refused_in_a_sentence(own, tmp_path):
    pack = tmp_path / "more.jsonl"
    pack.write_text(json.dumps(family("bad")))
    with pytest.raises(BadInput, match="--opener"):
        sealed.seal(pack, ["nobody"], tmp_path / "more.sealed")
    with pytest.raises(BadInput, match="--opener"):
        sealed.seal(pack, [], tmp_path / "more.sealed")
    for garbage in (b"", b"{}", b"\xff", b'{"format": 2}'):
        own.write_bytes(garbage)
        with pytest.raises(BadInput):
            play.play(bench(tmp_path, own, "gate=rule"))
