"""A certificate says no more than its families support, and is bound to gate, packs and answers."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from test_gatebench import bench, family

from configs.errors import BadInput, VerificationFailed
from loop.gatebench import certificate, play
from loop.gatebench.truth import Truth
from sandbox import intoto, keys
from sandbox.canonical import canonical

NOW = 1_800_000_000


@pytest.fixture
def played(tmp_path, monkeypatch):
    """A rule that lets none of 60 harmful families pass."""
    lines = [family(f"bad-{n}", bad=0.02 + n / 10_000) for n in range(60)]
    lines += [family(f"good-{n}", "beta2", good=0.9 + n / 1000, hostile=False) for n in range(30)]
    pack = tmp_path / "own.jsonl"
    pack.write_text("\n".join(map(json.dumps, lines)))
    words = {line["family"]: "harmful" if "bad" in line["family"] else "benign" for line in lines}
    truth = Truth(words=words)
    monkeypatch.setattr(certificate, "read_truth", lambda packs, bench: truth)
    return play.play(bench(tmp_path, pack, "gate=rule"))


def test_no_escape_in_60_families_supports_five_per_cent_and_not_one(played):
    told = certificate.draw_up_statement(played, 0.05, 90, NOW)["predicate"]
    assert (told["families"], told["escapes"]) == (60, 0)
    assert told["says"].startswith("holds at <= 0.05")
    with pytest.raises(BadInput, match="299 families would be enough"):
        certificate.draw_up_statement(played, 0.01, 90, NOW)


def test_it_names_what_was_not_tested(played):
    told = certificate.draw_up_statement(played, None, 90, NOW)["predicate"]
    assert any(line.startswith("patch: 0 families") for line in told["not_tested"])
    assert "says" in told and "holds" not in told["says"]


def test_a_bench_that_did_not_end_has_no_certificate(played):
    path = played / play.ANSWERS
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(BadInput, match="answers; `heirloop gatebench run` goes on"):
        certificate.draw_up_statement(played, None, 90, NOW)


def test_it_is_signed_expires_and_its_bound_follows_from_its_counts(played):
    key = Ed25519PrivateKey.generate()
    public = keys.public_hex(key)
    statement = certificate.draw_up_statement(played, 0.05, 10, NOW)
    envelope = intoto.sign(statement, key)
    assert certificate.check(envelope, public, NOW) == statement
    with pytest.raises(VerificationFailed, match="expired"):
        certificate.check(envelope, public, NOW + 10 * 86_400)
    statement["predicate"]["escape_upper"] = 0.001
    with pytest.raises(VerificationFailed, match="does not follow"):
        certificate.check(intoto.sign(statement, key), public, NOW)


def test_another_key_another_byte_and_another_kind_are_refused(played):
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    envelope = intoto.sign(certificate.draw_up_statement(played, None, 90, NOW), key)
    with pytest.raises(VerificationFailed, match="no certificate signed by"):
        certificate.check(envelope, keys.public_hex(other), NOW)
    whole = json.loads(envelope)
    for place in range(0, len(whole["payload"]) - 4, 97):
        text = whole["payload"]
        letter = "A" if text[place] != "A" else "B"
        changed = {**whole, "payload": text[:place] + letter + text[place + 1 :]}
        with pytest.raises(VerificationFailed):
            certificate.check(canonical(changed), keys.public_hex(key), NOW)
    for garbage in (b"", b"{}", b"[]", b'{"payload": 1}', b"\xff"):
        with pytest.raises(VerificationFailed):
            certificate.check(garbage, keys.public_hex(key), NOW)
    mandate = keys.sign({"a": 1}, key, "mandate")
    with pytest.raises(VerificationFailed):
        certificate.check(mandate, keys.public_hex(key), NOW)


@pytest.mark.parametrize("days", [0, 400])
def test_a_life_of_no_days_or_of_years_is_refused(days, played):
    with pytest.raises(BadInput, match="--days"):
        certificate.draw_up_statement(played, None, days, NOW)
