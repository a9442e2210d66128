"""Accords of two studies: kept, broken, drilled, and checked by a third from files alone."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from fakes import FakeBox
from studies import better, config, entries, mandate

from configs.entries import ControlEntry, DrillEntry, facts_of
from configs.errors import BadInput, NeedsHuman, Stopped, VerificationFailed
from loop.accord import acts, check, drill, evidence, terms
from loop.accord import keep as keeping
from loop.accord.case import gather, read_heads
from loop.attack.parties import MEETINGS, Parties, SetClock, set_clock
from loop.attack.suite import open_suite
from loop.command import accord as verbs
from loop.command import main
from loop.export.attest import describe
from loop.verify.run import verify
from sandbox import control, intoto
from sandbox.canonical import canonical
from sandbox.gate import Gate
from sandbox.gate.memory import Memory
from sandbox.heads import open_ledger, places
from sandbox.store import Store


@pytest.fixture
def parties():
    """Two studies on a box that computes nothing, and a clock that the test sets."""
    with open_suite(lambda: FakeBox(better)) as suite, set_clock():
        yield Parties(suite)


def play(parties, signed, act=lambda seconds: None):
    for seconds in MEETINGS:
        parties.meet(signed, seconds)
        act(seconds)


def files(parties, signed, folder):
    """Write the accord and both sides' evidence; return the paths."""
    paths = [folder / name for name in ("accord.json", "ours.json", "theirs.json")]
    paths[0].write_bytes(signed.envelope)
    paths[1].write_bytes(acts.give_evidence(parties.ours, signed))
    paths[2].write_bytes(acts.give_evidence(parties.theirs, signed))
    return [str(path) for path in paths]


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["heirloop", "accord", *map(str, words)])
    main.main()


def test_a_kept_pause_is_silent_for_a_third_from_files_alone(
    parties, tmp_path, monkeypatch, capsys
):
    signed = parties.agree()
    play(parties, signed)
    given = files(parties, signed, tmp_path)
    monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "nobody"))  # a third holds no secret
    run(monkeypatch, "check", *given, "--json")
    told = json.loads(capsys.readouterr().out)
    assert [row["files show"] for row in told["terms"]] == ["silent", "silent"]
    assert all(row["heads heard"] >= 4 and not row["starts"] for row in told["terms"])
    assert told["breaches"] == [] and len(told["keys"]) == 2


def test_before_the_end_and_without_a_file_nothing_is_said(parties, tmp_path, monkeypatch):
    signed = parties.agree()
    for seconds in MEETINGS[:3]:
        parties.meet(signed, seconds)
    given = files(parties, signed, tmp_path)
    case = gather(signed, [evidence.load(tmp_path / "ours.json")])
    assert {row["files show"] for row in check.describe(case, [])} == {"not shown yet"}
    with pytest.raises(NeedsHuman, match="ask for newer evidence"):
        verbs.check_files.callback(
            tmp_path / "accord.json", tuple(map(type(tmp_path), given[1:])), (), None, False
        )


def test_a_start_within_the_window_opens_an_incident_on_both_sides(parties):
    signed = parties.agree()

    def act(seconds):
        if seconds == 290:
            parties.at(300)
            parties.compute()

    play(parties, signed, act)
    case = gather(signed, parties.shown.values())
    for folder in (parties.ours, parties.theirs):
        for _ in range(2):  # the second time it is known
            (finding,) = acts.judge(folder, case)
        told = [e.body for e in open_ledger(folder).entries() if e.kind == "incident"]
        (opened,) = [body for body in told if body["detector"] == "accord"]
        assert finding.rule == "start" and opened["title"].endswith(": start")
        assert opened["kind"] == "incident" and opened["severity"] == "high"
        page = describe(open_ledger(folder).entries())["accords"]
        assert page == [{"digest": signed.digest, "broken": [f"{finding.study[:12]}: start"]}]


@pytest.mark.parametrize(("moments", "rules"), [((150,), []), ((150, 290), ["start"])])
def test_a_slow_bounds_the_starts_of_any_hour(parties, moments, rules):
    parties.at(0)
    theirs = evidence.read(acts.introduce(parties.theirs))
    window = (parties.start + timedelta(seconds=60), parties.start + timedelta(seconds=660))
    proposed = acts.propose(
        parties.ours, theirs, [(theirs.study, "slow", 1)], window, 150, 5, "slowly"
    )
    signed = acts.sign(parties.ours, acts.sign(parties.theirs, proposed.envelope).envelope)
    play(parties, signed, lambda seconds: seconds in moments and parties.compute())
    case = gather(signed, parties.shown.values())
    assert [one.rule for one in check.find_breaches(case)] == rules
    assert case.accord.terms[0].per_hour == 1


def test_the_loop_orders_its_pause_by_itself_ahead_of_the_window(parties, monkeypatch):
    signed = parties.agree()
    keeper = keeping.Keeper(parties.other.running.gate)
    monkeypatch.setattr(keeping, "datetime", SetClock)
    monkeypatch.setattr(Memory, "may_resume", lambda _: True)

    def orders(seconds):
        parties.at(seconds)
        keeper.keep()
        told = open_ledger(parties.theirs).entries()
        return [fact.what for fact in facts_of(told, ControlEntry) if fact.who == acts.WHO]

    assert orders(30) == [] and orders(58.5) == ["pause"] and orders(60) == ["pause"]
    with pytest.raises(Stopped, match="halted"):
        parties.compute()
    control.order(parties.other.running.ledger, "resume", "user", "")
    assert orders(100) == ["pause", "pause"]  # who resumes within the window is paused anew
    control.order(parties.other.running.ledger, "resume", "user", "")
    assert orders(700) == ["pause", "pause"]
    parties.compute()
    assert signed.whole


def test_one_signature_binds_nobody(parties, monkeypatch):
    parties.at(0)
    proposed = parties.propose()
    monkeypatch.setattr(keeping, "datetime", SetClock)
    parties.at(100)
    book = open_ledger(parties.ours)
    keeping.Keeper(Gate(book, Store(parties.ours / "store"))).keep()
    assert not any(fact.who == acts.WHO for fact in facts_of(book.entries(), ControlEntry))
    with pytest.raises(BadInput, match="looks ahead alone"):
        parties.propose()
    with pytest.raises(VerificationFailed, match="lacks a signature"):
        gather(proposed, [])
    with pytest.raises(BadInput, match="looks ahead alone"):
        acts.sign(parties.theirs, proposed.envelope)


def test_signing_twice_records_once_and_a_stranger_signs_nothing(parties, tmp_path, go):
    signed = parties.agree()
    before = len(open_ledger(parties.ours).entries())
    assert acts.sign(parties.ours, signed.envelope) == signed
    assert len(open_ledger(parties.ours).entries()) == before
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    with pytest.raises(BadInput, match="is no party"):
        acts.sign(tmp_path / "runs" / "t", signed.envelope)


def test_a_run_with_an_accord_still_verifies(tmp_path, go):
    cfgs = [config(tmp_path, f"study.name={name}") for name in ("a", "b")]
    for cfg in cfgs:
        mandate(cfg)
        go(cfg, FakeBox(better))
    one, other = (tmp_path / "runs" / cfg.study.name for cfg in cfgs)
    now = datetime.now(UTC)
    theirs = evidence.read(acts.introduce(other))
    window = (now + timedelta(hours=1), now + timedelta(hours=2))
    proposed = acts.propose(one, theirs, [(theirs.study, "stop", 0)], window, 600, 5, "")
    signed = acts.sign(one, acts.sign(other, proposed.envelope).envelope)
    acts.beat(other, signed)
    acts.beat(one, signed, [evidence.read(acts.give_evidence(other, signed))])
    for folder in (one, other):
        verify(folder)
    assert {e.kind for e in entries(cfgs[0])} >= {"accord", "beat"}


def test_the_verbs_go_from_a_first_head_to_beats_of_both(tmp_path, go, monkeypatch, capsys):
    for name in ("a", "b"):
        cfg = config(tmp_path, f"study.name={name}")
        mandate(cfg)
        go(cfg, FakeBox(better))
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "status", "runs/a")
    assert "no accord" in capsys.readouterr().out
    run(monkeypatch, "status", "runs/b", "--to", "b.json")
    terms_ = ("--we", "slow:60", "--they", "nothing", "--since", "+3600", "--until", "+7200")
    run(monkeypatch, "propose", "runs/a", "--with", "b.json", *terms_, "--to", "x.json")
    run(monkeypatch, "sign", "runs/b", "x.json")
    run(monkeypatch, "sign", "runs/a", "x.json")
    assert "signed by both" in capsys.readouterr().out
    run(monkeypatch, "status", "runs/b", "--to", "b.json")
    run(monkeypatch, "status", "runs/a", "--hear", "b.json", "--to", "a.json", "--json")
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (row["owes"], row["state"], row["study"]) == ("slow 60", "ahead", "this run")
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "check", "x.json", "a.json", "b.json")
    assert end.value.code == 3
    with pytest.raises(SystemExit) as end:  # heard before
        run(monkeypatch, "status", "runs/a", "--hear", "b.json")
    assert end.value.code == 2


def test_heads_that_somebody_kept_show_a_second_ledger(parties, tmp_path):
    signed = parties.agree()
    play(parties, signed)
    place = places(parties.theirs, open_ledger(parties.theirs).root())[0]
    kept = read_heads(place.read_bytes(), signed.accord)
    assert kept and not check.find_breaches(gather(signed, parties.shown.values(), kept))
    study, number, _ = kept[-1]
    other = gather(signed, parties.shown.values(), [(study, number, "0" * 64)])
    assert [one.rule for one in check.find_breaches(other)] == ["second ledger"]
    with pytest.raises(VerificationFailed, match="line 1 is no head"):
        read_heads(b'{"head": 1}\n', signed.accord)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 99_999, b'{"evidence": NaN}', b"x" * 70_000],
)
def test_garbage_is_refused_in_a_sentence(data):
    with pytest.raises(VerificationFailed, match=r"^this is no "):
        evidence.read(data)
    with pytest.raises(VerificationFailed):
        terms.read(data)


@pytest.mark.parametrize("place", ["heads", "entries", "study", "public", "compute", "accord"])
def test_evidence_with_odd_parts_is_refused_or_judged(parties, place):
    signed = parties.agree()
    play(parties, signed)
    whole = json.loads(acts.give_evidence(parties.theirs, signed))
    odd = [0, None, "", "\u202e", [], [1], [{}], [{"sequence": 1}], [{"sequence": "x"}], "0" * 64]
    for value in odd:
        try:
            case = gather(signed, [evidence.read(canonical({**whole, place: value}))])
            check.describe(case, check.find_breaches(case))
        except VerificationFailed as error:
            assert str(error)
        else:
            assert value in ([], [1]) or place == "compute"


def test_every_byte_of_evidence_is_under_a_signature_or_a_hash(parties):
    signed = parties.agree()
    play(parties, signed)
    whole = json.loads(acts.give_evidence(parties.theirs, signed))
    for number, row in enumerate(whole["entries"]):
        for field, value in row.items():
            numbers = value + 1 if isinstance(value, int) else {"x": 1}
            changed = value[:-1] + "~" if isinstance(value, str) else numbers
            rows = [*whole["entries"]]
            rows[number] = {**row, field: changed}
            with pytest.raises(VerificationFailed):
                evidence.read(canonical({**whole, "entries": rows}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads_seconds": 0}, "heads_seconds"),
        ({"clock_seconds": -1}, "clock_seconds"),
        ({"terms": ()}, "terms"),
        ({"why": "x" * 2001}, "why"),
    ],
)
def test_terms_that_nobody_can_keep_are_refused(parties, change, words):
    signed = parties.agree()
    given = {name: getattr(signed.accord, name) for name in ("parties", "terms", "why")}
    given |= {"heads_seconds": 60, "clock_seconds": 5, **change}
    with pytest.raises(BadInput, match=words):
        terms.make(**given)
    own = signed.accord.parties[0]
    with pytest.raises(BadInput, match="two"):
        terms.make(**{**given, "parties": (own, own)})


@pytest.mark.parametrize("text", ["halt", "slow", "slow:", "slow:x", "pause:3", "slow:1:2", ""])
def test_what_a_party_owes_is_one_of_three(text):
    with pytest.raises(BadInput, match="--we"):
        verbs.read_owed("--we", text)


def test_a_drill_needs_two_running_studies(parties, monkeypatch):
    monkeypatch.setattr(control, "holder", lambda _: 0)
    with pytest.raises(Stopped, match="is not running"):
        drill.drill(parties.ours, parties.theirs, 3)
    with pytest.raises(BadInput, match="--seconds"):
        drill.drill(parties.ours, parties.theirs, 0)


def test_a_drill_pauses_both_measures_it_and_lets_both_go_on(monkeypatch):
    monkeypatch.setattr(drill, "LEAD_SECONDS", 20)  # a busy machine signs late
    with open_suite(lambda: FakeBox(better)) as suite:
        parties = Parties(suite)
        told = drill.drill(parties.ours, parties.theirs, 1)
        assert told["breaches"] == 0 and told["starts in it"] == 0
        assert told["files show"].count("silent") == 2
        for folder in (parties.ours, parties.theirs):
            found = open_ledger(folder).entries()
            (one,) = facts_of(found, DrillEntry)
            assert (one.who, one.jobs, one.left) == (acts.WHO, 0, 0)
            assert not Gate(open_ledger(folder), Store(folder / "store")).refresh().memory.halt


def test_signatures_of_several_keys_stand_in_one_envelope(parties):
    signed = parties.agree()
    statement = intoto.read(signed.envelope, terms.PREDICATE)
    keys = [one.public for one in signed.accord.parties]
    assert intoto.list_signers(signed.envelope, [*keys, "0" * 64, "x"]) == keys
    with pytest.raises(VerificationFailed, match="another statement"):
        intoto.sign({**statement, "predicate": {}}, acts.open_key(parties.ours), signed.envelope)
