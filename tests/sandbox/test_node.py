"""Studies on several machines: what a node checks, what the loop believes, and what a loss costs.

The nodes are objects of this process; tests/loop/test_ray.py has nodes of a Ray cluster.
"""

import pickle
import struct
from dataclasses import replace

import pytest
from crashes import entries, flaws, kept
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes import FakeBox
from studies import better, config, mandate

from configs.build import plain
from configs.entries import JobEntry, NodeEntry, StartEntry, facts_of
from configs.errors import BadInput, NeedsHuman, NoBox, VerificationFailed
from configs.records import NodeStatement
from sandbox import keys, node, run
from sandbox.box.base import Permission
from sandbox.box.cluster import ClusterBox, LostNode
from sandbox.canonical import canonical, digest
from sandbox.node import Node, frame, make_order, unframe

ABOUT = NodeStatement(
    node="",
    name="near",
    box="fake",
    tier="C",
    proved="",
    python="3",
    packages="p",
    jobs=1,
)


class Wire:
    """A way to a node of this process; `answer` may change what comes back, or raise."""

    def __init__(self, answer=lambda number, data: data, **about):
        self.box = FakeBox(better)
        self.node = Node(self.box, [None])
        self.answer, self.about = answer, replace(ABOUT, **about)
        self.orders, self.closed = [], False

    def prove(self):
        return self.node.state(self.about)

    def serve(self, study_key):
        self.node.serve(study_key)

    def run(self, order, seconds):
        self.orders.append(order)
        return self.answer(len(self.orders), self.node.run(order))

    def stop(self):
        self.box.stop()

    def close(self):
        self.closed = True


def lost(number, data):
    raise LostNode("it is gone")


@pytest.fixture
def play(tmp_path, go, monkeypatch):
    """Run a study of one secret on a box; return its settings."""

    def run_on(box, name, *overrides):
        monkeypatch.setattr(keys, "new_secret", lambda: keys.plain_secret(b"nodes"))
        cfg = config(tmp_path / name, "study.generations=1", *overrides)
        mandate(cfg)
        go(cfg, box)
        return cfg

    return run_on


@pytest.fixture
def whole(play):
    """Return what the study finds on this machine."""
    return kept(play(FakeBox(better), "near"))


def results(cfg):
    return [fact.result for fact in facts_of(entries(cfg), JobEntry)]


def test_a_study_on_two_nodes_finds_what_it_finds_on_this_machine(play, whole):
    wires, left = [Wire(), Wire()], []
    cfg = play(ClusterBox(wires, lambda: left.append(True)), "far", "box.parallel=2")
    assert left == [True]  # so that the next study of a sweep can join
    assert kept(cfg) == whole and flaws(cfg) == []
    joined = {fact.node.node for fact in facts_of(entries(cfg), NodeEntry)}
    assert joined == {wire.node.public for wire in wires}
    assert all(wire.orders and wire.closed for wire in wires)
    assert all(result.receipt and result.box == "fake" for result in results(cfg))


def test_a_lost_node_s_jobs_are_charged_in_full_and_granted_anew(play, whole):
    wires = [Wire(lambda number, data: data if number < 3 else lost(number, data)), Wire()]
    cfg = play(ClusterBox(wires), "far")
    assert kept(cfg) == whole and flaws(cfg) == [] and len(wires[0].orders) == 3
    (gone,) = (fact for fact in facts_of(entries(cfg), JobEntry) if fact.result.status == "box")
    start = next(f for f in facts_of(entries(cfg), StartEntry) if f.grant.nonce == gone.nonce)
    assert gone.result.charged == start.reserved and gone.result.charged_by == "reservation"
    assert not gone.result.receipt and "lost with node near: it is gone" in gone.result.detail
    attempts = [f.grant.attempt for f in facts_of(entries(cfg), StartEntry) if f.job == start.job]
    assert attempts == [0, 1]


def test_a_study_whose_nodes_are_all_lost_asks_people(play):
    with pytest.raises(NeedsHuman, match="lost 3 times by the box"):
        play(ClusterBox([Wire(lost)]), "far")


def other_key(answer):
    """Return an answer that another node signed."""
    signed, rest = unframe(answer)
    payload = keys.payload_unchecked(signed)
    return frame(keys.sign(payload, Ed25519PrivateKey.generate(), "receipt"), [rest])


def signing(wire, change):
    """Return a function that lets a hostile node sign a changed receipt."""

    def answer(number, data):
        signed, rest = unframe(data)
        payload = change(keys.payload_unchecked(signed))
        return frame(keys.sign(payload, wire.node._key, "receipt"), [rest])

    return answer


HOSTILE = {
    "nothing": lambda wire: lambda number, data: b"",
    "garbage": lambda wire: lambda number, data: b"\xff" * 1000,
    "a pickle": lambda wire: lambda number, data: pickle.dumps({"status": "ok"}),
    "a long head": lambda wire: lambda number, data: struct.pack(">I", 2**31) + data,
    "too much": lambda wire: lambda number, data: data + bytes(40_000_000),
    "a changed file": lambda wire: lambda number, data: data[:-1] + bytes([data[-1] ^ 1]),
    "cut short": lambda wire: lambda number, data: data[:-1],
    "another key": lambda wire: lambda number, data: other_key(data),
    "another job": lambda wire: signing(wire, lambda body: body | {"job": "0" * 64}),
    "another output": lambda wire: signing(
        wire,
        lambda body: body | {"outputs": {"x.py": body["log"]}, "sizes": {"x.py": 0}},
    ),
    "more than it can use": lambda wire: signing(wire, lambda body: body | {"cpu_us": 2**52}),
    "a negative charge": lambda wire: signing(wire, lambda body: body | {"cpu_us": -1}),
    "a kill that nobody ordered": lambda wire: signing(
        wire, lambda body: body | {"status": "box", "detail": "killed by a stop"}
    ),
    "a status of its own": lambda wire: signing(wire, lambda body: body | {"status": "best"}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_node_that_answers_what_cannot_be_believed_is_lost(play, whole, kind):
    wires = [Wire(), Wire()]
    wires[0].answer = HOSTILE[kind](wires[0])
    cfg = play(ClusterBox(wires), "far")
    assert kept(cfg) == whole and flaws(cfg) == [] and len(wires[0].orders) == 1
    assert [result.charged_by for result in results(cfg)].count("reservation") == 1


@pytest.fixture
def permission(play):
    """Return a permission as a study gives it, its files, and the study's key."""
    wire = Wire()
    cfg = play(ClusterBox([wire]), "far")
    start = next(iter(facts_of(entries(cfg), StartEntry)))
    plan = next(e.fact.plan for e in entries(cfg) if e.kind == "plan")
    given = Permission(plan=plan, job=start.job, grant=start.grant)
    return given, dict(wire.box.ran[0].files), keys.signer(keys.plain_secret(b"nodes"))


def ask(right, **change):
    """Send a fresh node an order, changed or not; return its receipt and how many jobs it ran."""
    given, files, key = right
    box = FakeBox(better)
    fresh = Node(box, [None])
    fresh.serve(keys.public_hex(key))
    given = change.get("permission", given)
    order = make_order(
        given,
        change.get("node", fresh.public),
        change.get("files", files),
        change.get("key", key),
    )
    answers = [fresh.run(change.get("bytes", lambda data: data)(order))]
    answers += [fresh.run(order)] if change.get("twice") else []
    return keys.payload_unchecked(unframe(answers[-1])[0]), len(box.ran)


def unnamed(grant):
    return replace(grant, nonce=digest(replace(grant, nonce=""))[:32])


def another(permission, what):
    """Return the change that makes an order wrong in one way."""
    given, files, _ = permission
    plan, job, grant = given.plan, given.job, given.grant
    source = "models/train.py"
    match what:
        case "key":
            return {"key": Ed25519PrivateKey.generate()}
        case "node":
            return {"node": "0" * 64}
        case "plan":
            return {"permission": replace(given, plan=replace(plan, hypothesis="another"))}
        case "nonce":
            return {"permission": replace(given, grant=replace(grant, nonce="0" * 32))}
        case "index":
            far = unnamed(replace(grant, index=99))
            return {"permission": replace(given, grant=far, job=replace(job, index=99))}
        case "steps":
            order = replace(job.order, steps=job.order.steps + 1)
            return {"permission": replace(given, job=replace(job, order=order))}
        case "bundle":
            return {"files": files | {source: files[source] + b"\n"}}
        case "input":
            return {"files": files | {"data.safetensors": b"other"}}
        case "file":
            return {"files": files | {"../x.py": b""}}
        case "twice":
            return {"twice": True}
        case "nothing":
            return {"bytes": lambda data: b""}
        case "garbage":
            return {"bytes": lambda data: b"\x00\x00\x00\x09not JSON!"}
        case "longer":
            return {"bytes": lambda data: data + b"x"}
    raise AssertionError(what)


WRONG = ["key", "node", "plan", "nonce", "index", "steps", "bundle", "input", "file", "twice"]
WRONG += ["nothing", "garbage", "longer"]


@pytest.mark.parametrize("what", WRONG)
def test_a_node_runs_no_order_that_is_not_exactly_the_granted_one(permission, what):
    assert ask(permission)[1] == 1
    receipt, ran = ask(permission, **another(permission, what))
    assert receipt["nonce"] == "" and receipt["detail"].startswith("the node refused the order: ")
    assert ran == (what == "twice")


@pytest.mark.parametrize(
    ("what", "place", "defence"),
    [
        ("key", keys, "verify"),
        ("plan", node, "_need_granted"),
        ("nonce", node, "_need_granted"),
        ("index", node, "_need_granted"),
        ("steps", node, "fits"),
        ("bundle", node, "_read_files"),
        ("input", node, "_read_files"),
    ],
)
def test_each_check_of_a_node_is_needed(permission, what, place, defence, monkeypatch):
    instead = {
        "verify": lambda signed, *_: keys.payload_unchecked(signed),
        "_need_granted": lambda *_: None,
        "fits": lambda *_: True,
        "_read_files": lambda job, sizes, data: node.split(sizes, data),
    }
    change = another(permission, what)
    monkeypatch.setattr(place, defence, instead[defence])
    receipt, ran = ask(permission, **change)
    assert receipt["nonce"] and ran == 1


def test_nodes_with_other_boxes_are_refused_together():
    with pytest.raises(NoBox, match="another packages"):
        ClusterBox([Wire(), Wire(packages="q")])
    with pytest.raises(NoBox, match="no node of the cluster"):
        ClusterBox([])
    assert ClusterBox([Wire(tier="B"), Wire(tier="C")]).tier == "C"


def test_a_node_serves_a_single_study():
    wire = Wire()
    wire.serve("0" * 64)
    with pytest.raises(BadInput, match="named once"):
        wire.serve("1" * 64)


def test_nothing_that_no_study_grants_goes_to_a_node(permission):
    wire = Wire()
    box = ClusterBox([wire])
    box.serve(keys.signer(keys.plain_secret(b"nodes")))
    given, files, _ = permission
    execution = run.Execution(role="train", files=files, limits=given.job.limits, outputs={})
    assert box.run(execution).detail.startswith("a node runs granted jobs alone")
    box.stop()
    stopped = box.run(replace(execution, permission=given))
    assert (stopped.status, stopped.cpu_us, wire.orders) == ("box", 0, [])
    assert wire.box.stopped


def test_verification_holds_a_job_s_record_to_what_its_node_signed(play, monkeypatch):
    real = run.add_receipt

    def cheaper(store, result, outcome, reserved):
        less = replace(result, charged=replace(result.charged, cpu_us=1))
        return real(store, less, outcome, reserved)

    with monkeypatch.context() as patch:
        patch.setattr(run, "add_receipt", cheaper)
        with pytest.raises(VerificationFailed, match="it is not what its node signed"):
            play(ClusterBox([Wire()]), "cheaper")
    with monkeypatch.context() as patch:
        patch.setattr(ClusterBox, "serve", joining_nothing(ClusterBox.serve))
        with pytest.raises(VerificationFailed, match="a node that did not join the study"):
            play(ClusterBox([Wire()]), "unknown")


def joining_nothing(serve):
    def instead(self, key):
        serve(self, key)
        return []

    return instead


def test_a_node_s_statement_is_signed_by_the_key_that_it_names():
    wire = Wire()
    payload = keys.payload_unchecked(wire.prove()) | {"node": "0" * 64}
    wire.prove = lambda: keys.sign(payload, wire.node._key, "node")
    with pytest.raises(VerificationFailed):
        ClusterBox([wire])
    wire.prove = lambda: canonical(plain(ABOUT))
    with pytest.raises(VerificationFailed):
        ClusterBox([wire])
