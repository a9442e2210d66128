"""What people are shown: nothing hidden, nothing cut, look-alikes named, and the bytes shown are
the bytes that are signed.
"""

import re
import sys
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from fakes import FakeBox
from hypothesis import given
from hypothesis import strategies as st
from studies import (
    accept,
    better,
    champions,
    config,
    entries,
    gate_of,
    mandate,
    patches,
    real_judge,
    waiting,
)
from tampering import leaves, mutated

from configs.build import parse, plain
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from configs.records import Plan
from loop.measure import confirm
from loop.people import amend, difference, lines, sign, view
from loop.terminal import shorten
from loop.text import confusables, hidden, visible, write_number
from sandbox import keys
from sandbox.canonical import canonical, digest
from sandbox.store import Store

ODD = "\x00\x1b\x7f\x85\u00ad\u034f\u061c\u115f\u180b\u200b\u200d\u202e\u2028\u2066\u2800\u3164\ufe0f\ufeff\uffa0\U000e0041\U000f0000\U000e0100\ud800"  # noqa: E501


def back(text):
    """Undo `visible`."""
    return re.sub(
        r"⟨U\+([0-9A-F]+)(?: × ([0-9]+))?⟩", lambda m: chr(int(m[1], 16)) * int(m[2] or 1), text
    )


@given(
    st.text(alphabet=st.one_of(st.characters(codec=None), st.sampled_from(ODD + "⟨〈U+202E⟩ \n"))),
    st.booleans(),
)
def test_every_text_is_shown_one_to_one_and_nothing_in_it_acts(text, lines):
    seen = visible(text, lines)
    assert back(seen) == text
    assert all(c.isprintable() or (lines and c == "\n") for c in seen) and not set(seen) & set(ODD)


def test_a_rounding_error_is_zero_and_zero_has_no_minus():
    noise = [write_number(value) for value in (-2.776e-17, -0.0, 1e-13, -0.5, 1e-9)]
    assert noise == ["0", "0", "0", "-0.5", "1e-09"]
    assert write_number(-0.0002, ".3f") == "0.000" and write_number(-0.0002, "+.3f") == "+0.000"
    assert shorten(-2.776e-17) == "0" and shorten(None) == "-" and shorten(3) == 3


def test_padding_marks_and_forged_escapes_are_seen():
    assert (
        visible("a" + " " * 10**6 + "b") == "a⟨U+0020 × 1000000⟩b"
        and visible("x" * 100) == "x" * 100
    )
    assert visible("\u202e⟨U+202E⟩") == "⟨U+202E⟩⟨U+27E8⟩U+202E⟩"
    assert (
        visible("é e\u0301 1\u0338 a" + "\u0301" * 3)
        == "é e\u0301 1⟨U+0338⟩ a⟨U+0301⟩⟨U+0301⟩⟨U+0301⟩"
    )
    assert visible("a\nb") == "a⟨U+000A⟩b" and visible("a\nb", lines=True) == "a\nb"
    assert visible("\n" * 50, lines=True) == "⟨U+000A × 50⟩"
    assert (
        hidden("a\u202eb\u200b\n") == ("U+200B", "U+202E")
        and hidden("plain text, naïve 日本語\n") == ()
    )


@pytest.mark.parametrize(
    "text",
    [
        "раураl",
        "аpple",
        "learning_rаte",
        "ｒｍ",
        "𝐚dam",
        "ехес",
        "a\u2044b",
        "pаss the gate",
        "ВСЕ or all",
    ],
)
def test_look_alikes_are_named_with_their_code_points(text):
    assert "U+" in confusables(text)[0]


PLAIN = (
    "plain text",
    "naïve café, größer",
    "это просто русский текст",
    "モデルの学習率を上げる",
    "학습률을 올린다",
    "λ and β",
    "“quoted” – it’s…",
)


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_of_another_script_is_no_look_alike(text):
    assert confusables(text) == ()


def test_a_difference_is_complete_and_lines_end_at_line_feeds_alone(tmp_path):
    store = Store(tmp_path)
    long = "".join(f"line {i}\n" for i in range(3000)).encode()
    before = store.put_bundle(
        {"models/a.py": b"one\ntwo\n", "models/b.py": b"same", "models/c.py": b""}
    )
    after = store.put_bundle(
        {
            "models/a.py": b"one\r\\u2028\x0ctwo\n" + long,
            "models/b.py": b"same",
            "models/d.py": b"\xff\n",
        }
    )
    a, c, d = difference.compare_bundles(store, before, after)
    assert [x.file_raw for x in (a, c, d)] == ["models/a.py", "models/c.py", "models/d.py"]
    assert {f"+line {i}" for i in range(3000)} <= set(a.lines_raw) and (a.added, a.removed) == (
        3001,
        2,
    )
    assert (
        "+one\r\\u2028\x0ctwo" in a.lines_raw
        and "+\udcff" in d.lines_raw
        and visible("\udcff") == "⟨U+DCFF⟩"
    )
    assert {x.added for x in difference.compare_bundles(store, None, before)} >= {
        3,
        1,
    } and difference.compare_bundles(store, after, after) == ()
    assert c.lines_raw and c.removed == 1


@pytest.fixture
def asked(tmp_path, go, monkeypatch, copied):
    """A finished study whose promotions a scripted reviewer let pass; its configuration."""
    settings = ["autonomy=bounded", "gates.unattended.classes=[recipe]", "reviewer=scripted"]
    monkeypatch.setattr(confirm, "judge", lambda *a, **k: accept(real_judge(*a, **k)))

    def make(folder):
        keys.new_key("ada", "person", "correct horse")
        cfg = config(folder, *settings)
        mandate(cfg)
        go(cfg, FakeBox(better))

    copied(make)
    return config(tmp_path, *settings)


def test_one_record_tells_all_that_a_decision_needs(asked):
    gate = gate_of(asked)
    name = champions(asked)[-1]
    found = view.view_subject(gate, gate.memory.subjects[name], "promote")
    assert (found.digest, found.size, found.change_class) == (
        name,
        len(found.canonical_raw.encode()),
        "promote",
    )
    assert [one.plan for one in found.lineage][-1] == champions(asked)[0] and found.lineage[
        0
    ].decided == "mandate (unattended)"
    assert dict((n, a) for n, _, a in found.settings_raw) == {
        k: canonical(v).decode() for k, v in gate.memory.plans[name].changed.items()
    }
    assert (
        found.requested["jobs"] <= asked.budget.jobs and found.remaining["jobs"] < asked.budget.jobs
    )
    assert digest(found.objective_raw.encode()) == gate.memory.plans[name].objective
    assert [(s.reviewer, s.kind, s.answer) for s in found.decisions] == [
        ("scripted", "simulated", "approve")
    ]
    assert found.approved == champions(asked)[0] and found.drift > 0
    text = "\n".join(f"{label}: {value}" for label, value in lines.list_lines(found))
    assert (
        found.canonical_raw in text
        and "not checked: reason" in text
        and name in text
        and "…" not in text
    )


def test_the_bytes_shown_are_the_bytes_that_are_signed_for_every_field_of_a_plan(
    asked, monkeypatch
):
    """A12: change any one field and the digest of what is shown is another."""
    gate = gate_of(asked)
    name = champions(asked)[-1]
    whole = view.read_subject(gate, name)
    found = view.view_subject(gate, gate.memory.subjects[name])
    assert digest(found.canonical_raw.encode()) == name
    paths = list(leaves(whole))
    assert len(paths) > 50
    for path in paths:
        changed = mutated(whole, path)
        monkeypatch.setattr(view, "read_subject", lambda *_, one=changed: one)
        with pytest.raises(VerificationFailed, match="does not match its digest"):
            view.view_subject(gate, gate.memory.subjects[name])


@pytest.mark.parametrize("honest", [True, False])
def test_a_record_whose_bytes_are_not_its_digest_s_is_not_shown(asked, monkeypatch, honest):
    """A12, with its ablation: what the ledger calls by one digest holds another plan's bytes."""
    gate, (first, *_, last) = gate_of(asked), champions(asked)
    stale = view.read_subject(gate, first)
    monkeypatch.setattr(view, "read_subject", lambda *_: stale)
    if honest:
        with pytest.raises(VerificationFailed, match="does not match its digest"):
            view.view_subject(gate, gate.memory.subjects[last])
        return
    monkeypatch.setattr(view, "digest", lambda _: last)
    assert (
        view.view_subject(gate, gate.memory.subjects[last]).canonical_raw
        == canonical(stale).decode()
    )


def test_what_is_too_large_to_be_read_cannot_be_approved(asked, monkeypatch):
    """A11: the plan's own bytes count, and the lines of its differences."""
    gate, name = gate_of(asked), champions(asked)[1]
    size = view.view_subject(gate, gate.memory.subjects[name]).size
    monkeypatch.setattr(view, "SHOWN_BYTES", size - 1)
    with pytest.raises(BadInput, match=f"more than the {size - 1}"):
        view.view_subject(gate, gate.memory.subjects[name])
    monkeypatch.setattr(view, "SHOWN_BYTES", size + 1)
    monkeypatch.setattr(
        view,
        "compare_bundles",
        lambda *_: (difference.FileDiff(file_raw="a", lines_raw=("x" * 99,), added=1, removed=0),),
    )
    with pytest.raises(BadInput, match="deny it"):
        view.view_subject(gate, gate.memory.subjects[name])


def plan_with(gate, name, **changes):
    """Record a changed copy of a plan; return its subject."""
    plan = replace(gate.memory.plans[name], **changes)
    gate.ledger.append("plan", {"digest": digest(plan), "plan": plain(plan)})
    return gate.refresh().memory.subjects[digest(plan)]


def test_risk_flags_come_from_the_bytes_and_not_from_what_the_proposer_calls_them(asked):
    gate, name = gate_of(asked), champions(asked)[-1]
    files = gate.store.get_bundle(gate.memory.plans[name].bundle)

    def flags(code="", file="models/train.py", **changes):
        bundle = gate.store.put_bundle(files | {file: files[file] + code.encode()})
        return " | ".join(
            view.view_subject(gate, plan_with(gate, name, bundle=bundle, **changes)).flags
        )

    assert "changes code: models/train.py" in flags(
        "x = 1\n", change_class="patch"
    ) and "computable" in flags("x = 2\n", change_class="patch")
    assert "class recipe does not cover: models/train.py" in flags("x = 3\n")
    assert "class patch does not cover: models/net.py" in flags(
        "x = 4\n", file="models/net.py", change_class="patch"
    )
    assert "structural: predictions" in flags(
        "x = 5\n", file="models/net.py", change_class="structural"
    )
    assert re.search(
        "asks for more than is left of [a-z_, ]*jobs",
        flags(requested=replace(gate.memory.plans[name].requested, jobs=10**6)),
    )
    assert "U+202E" in flags("x = '\u202e'\n", change_class="patch") and "U+200B" in flags(
        hypothesis="a\u200bb"
    )
    assert "look-alikes: pаss: U+0430 looks like a" in flags(hypothesis="pаss")
    assert "large" in flags("y = 1\n" * 300, change_class="patch") and "drifted" in flags(
        "z = 1\n" * 60
    )
    assert "earlier version" in flags(version=2)
    gate.refuse(name, "recipe", "no")
    assert f"was denied before, as plan {name[:12]}" in flags(hypothesis="once more")


def test_a_canary_is_shown_as_a_plan_would_be(tmp_path, go, monkeypatch):
    cfg = config(
        tmp_path,
        "autonomy=assisted",
        "gates=attended",
        "reviewer=fatigue",
        "gates.canaries=1",
        "study.generations=1",
    )
    go(cfg, FakeBox(better))
    gate = gate_of(cfg)
    probes = [e.body["digest"] for e in entries(cfg) if e.kind == "probe"]
    assert probes
    for name in probes:
        found = view.view_subject(gate, gate.memory.subjects[name])
        real = next(
            n
            for n, p in gate.memory.plans.items()
            if (p.generation, p.index)
            == (gate.memory.probes[name].generation, gate.memory.probes[name].index)
        )
        twin = view.view_subject(gate, gate.memory.subjects[real])
        assert (
            found.what,
            found.lineage,
            found.approved,
            [k for k, _ in lines.list_lines(found)][:3],
        ) == (twin.what, twin.lineage, twin.approved, ["digest", "class", "what"])
        assert "probe" not in found.canonical_raw and "canary" not in str(found.flags)


def test_an_amendment_shows_every_field_that_changes_and_an_order_its_own_bytes(asked, tmp_path):
    """E15: another objective is shown, field by field, from the bytes that are signed."""
    folder = tmp_path / "runs" / "t"
    name = amend.amend(
        folder, ["objective.alpha=0.5", "budget.jobs=300"], "eve", "quite harmless\u202e"
    )
    gate = gate_of(asked)
    found = view.view_subject(gate, gate.memory.subjects[name])
    assert (
        "config.objective.alpha",
        "0.05",
        "0.5",
    ) in found.settings_raw and '"alpha":0.5' in found.objective_raw
    assert (
        len(found.settings_raw) == 2 and "⟨U+202E⟩" in dict(lines.list_lines(found))["reason given"]
    )
    entry = gate.ledger.append(
        "control", {"what": "pause", "who": "ada", "why": "tea", "per_hour": 0}
    )
    order = view.view_subject(gate.refresh(), gate.memory.subjects[entry.hash])
    assert (order.what, digest(order.canonical_raw.encode())) == ("order", entry.hash)


def test_the_terminal_prints_the_whole_difference_escaped_before_it_asks(tmp_path, go, monkeypatch):
    keys.new_key("ada", "person", "correct horse")
    cfg = config(tmp_path, "autonomy=bounded")
    mandate(cfg)
    patches(monkeypatch, 250)
    with pytest.raises(NeedsHuman):
        go(cfg, FakeBox(better))
    plan = waiting(cfg)[-1]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", type("T", (), {"isatty": lambda _: True})())
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "wrong!")
    runner = CliRunner()
    with runner.isolation() as (out, *_):
        monkeypatch.setattr(sys, "stdin", type("T", (), {"isatty": lambda _: True})())
        with pytest.raises(NeedsHuman, match="do not match"):
            sign.sign_decision(
                tmp_path / "runs" / "t", plan, "approve", key="ada", reason="a reason"
            )
        text = out.getvalue().decode()
    gate = gate_of(cfg)
    body = parse(Plan, view.read_subject(gate, plan))
    code = gate.store.get_bundle(body.bundle)["models/train.py"].decode()
    number = re.search(r"_X(\d)_0 = 0", code)[1]
    added = [line for line in text.splitlines() if re.match(r"\+_X\d_", line)]
    whole = [f"+_X{number}_{i} = {i}" for i in range(250)]
    assert added == whole * 2  # against the parent, and against what people approved last
    assert body.change_class == "patch" and plan in text
