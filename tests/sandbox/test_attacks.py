"""The attack catalogue against both real boxes, and its ablations: with one defence taken away the
same program gets through.

A defence in depth is taken away as a whole: where several layers stop a program (say the network
namespace, the system call list and Landlock), the ablation lists them all. Nothing outside this
file can take one away.
"""

import contextlib
import gzip
import io
import json
import math
import os
import pickle
import re
import resource
import shutil
import tempfile
import time
import zipfile
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, need_box, on
from defences import MARKED, instead, marks

import evals.score
from configs.build import parse
from configs.entries import flatten
from configs.errors import NoBox
from configs.records import CHANGE_CLASSES, Amount, Caps, Mandate, regions
from evals import ladder
from evals.attacks.attack import PAYLOADS
from evals.attacks.table import ATTACKS
from evals.factory import desk, scenarios
from evals.factory.scenarios import is_met
from loop import terminal
from loop.accord import case, evidence, terms
from loop.accord import check as accord_check
from loop.attack import gate as attack_gate
from loop.attack import insider, judging, monitor, run, suite
from loop.attack import ledger as attack_ledger
from loop.attack.service import SCENARIOS
from loop.command import main
from loop.measure import replicate
from loop.people import difference, flags, lines, view
from loop.plan import source as pristine
from loop.propose.agent import model
from loop.report import markup
from loop.study import items as study_items
from loop.study import open as study_open
from loop.study import root as study_root
from loop.verify import heads as verify_heads
from loop.verify import inputs
from loop.verify import run as verify_run
from sandbox import chain, charges, gate, heads, keys, ledger, store
from sandbox import run as sandbox_run
from sandbox.box import cgroup, container, docker, environment, namespace, seccomp, watch
from sandbox.box.docker import DockerBox
from sandbox.box.namespace import NamespaceBox
from sandbox.door import doors as door
from sandbox.door import spawn
from sandbox.door.doors import Reply
from sandbox.door.replayed import ReplayedDoor
from sandbox.store import Store

ROWS = {one.id: one for one in ATTACKS}
MAKE = {
    "namespace": lambda mode: NamespaceBox(ROOT / ".box", warm=mode == "warm"),
    "docker": lambda mode: DockerBox("heirloop-box", warm=mode == "warm"),
}


OTHERS = ("program", "notes", "scenarios/service.jsonl")
WIDE = {
    name: replace(one, covers=frozenset({*OTHERS, *pristine(), *(one.covers or ())}))
    for name, one in CHANGE_CLASSES.items()
}
"""The change classes, each of which covers every file."""
PARTS = 4
BOUNDS = ("S01", "S01b", "S02", "S02b")
"""Bounds over several processes; tier C has no control group for them."""
IN_BOX = [one.id for one in ATTACKS if one.read_program() or one.id == "B14"]
IN_BOX = [one for one in IN_BOX if one not in BOUNDS]
AT_DOOR = [one.id for one in ATTACKS if not one.read_program()]


def all_stopped(make, ids):
    """Try rows of the catalogue in one study; each must be stopped by what should stop it."""
    with suite.open_suite(make) as opened:
        rows = [run.attempt(opened, ROWS[one]) for one in ids]
    assert [
        (row["id"], row["said"], row["host_intact"]) for row in rows if not row["stopped"]
    ] == []
    assert all(row["by"] == row["expected"] == ROWS[row["id"]].by for row in rows)
    assert (
        max(row["overuse"] for row in rows) < 2.0
    )  # the benchmark holds the figure; a busy machine holds the test


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("mode", ["cold", "warm"])
@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_every_attack_is_stopped_by_what_should_stop_it(kind, mode, part):
    need_box(lambda: MAKE[kind](mode), kind).close()
    all_stopped(lambda: MAKE[kind](mode), IN_BOX[part::PARTS])


@pytest.mark.parametrize("mode", ["cold", "warm"])
@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_bounds_over_several_processes_hold_where_there_are_control_groups(kind, mode):
    box = need_box(lambda: MAKE[kind](mode), kind)
    box.close()
    if box.tier == "C":
        pytest.skip(f"no writable control group: {', '.join(BOUNDS)} are not tried at tier C")
    all_stopped(lambda: MAKE[kind](mode), BOUNDS)


@pytest.mark.parametrize("part", range(2))
def test_every_attack_at_the_door_is_stopped_whatever_the_box(part):
    """Once, in the first box that this machine has: what stops these lies outside it.

    A shell grants 1,024 descriptors, and the studies that these attacks open need more.
    """

    def make():
        try:
            return MAKE["namespace"]("warm")
        except NoBox:
            return MAKE["docker"]("warm")

    need_box(make).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        all_stopped(make, AT_DOOR[part::2])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_every_program_belongs_to_a_row_and_every_row_has_an_ablation():
    known = {
        *ROWS,
        *(one.followed_by for one in ATTACKS),
        *(one.alongside for one in ATTACKS),
        "prelude",
        "constant",
        "seeded",
        "near",
        "D01",
        "D02",
        "agent_descriptors",
        "agent_ports",
        "service_holdout",
        "service_outside",
    }
    assert {path.stem for path in PAYLOADS.glob("*.txt")} <= known
    assert all(one.read_program() or one.id in run.TRUSTED for one in ATTACKS)
    assert {row for _, _, ids, *_ in HOLES for row in ids} == set(ROWS)


def test_the_command_prints_rows_and_says_what_got_through(monkeypatch, capsys):
    need_box(lambda: MAKE["namespace"]("cold")).close()

    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["heirloop", "attack", *arguments])
        with pytest.raises(SystemExit) as left:
            main.main()
            raise SystemExit(0)
        return left.value.code, capsys.readouterr()

    code, said = command("--only", "B04", "--json")
    row = json.loads(said.out)[0]
    assert code == 0 and (
        row["id"],
        row["box"],
        row["mode"],
        row["stopped"],
        row["by"],
        row["host_intact"],
    ) == ("B04", "namespace", "warm", True, "budget", True)
    assert {"expected", "seconds", "overuse", "incident"} <= set(row)
    assert command("--only", "Z99")[0] == 2
    monkeypatch.setattr(Amount, "__post_init__", lambda _: None)
    code, said = command("--only", "B04")
    assert (
        code == 6
        and "NO" in said.out
        and "not stopped as expected in the namespace box, warm: B04" in said.err
    )


class Hole:
    """Takes defences away, for one test."""

    def __init__(self, patch, folder, kind):
        self.patch, self.folder, self.kind = patch, folder, kind
        self.sources = {name: (namespace.HERE / name).read_text() for name in MARKED}
        self.host_config, self.made, self.raw, self.removed = {}, {}, {}, set()
        self.command, self.after, self.seccomp = [], [], True

    def remove(self, *names):
        """Take defences of the processes inside away, by the marks in their sources."""
        for name in names:
            self.instead(name, "")

    def instead(self, name, text):
        """Put other text where a defence is marked."""
        (file,) = [file for file, source in self.sources.items() if name in marks(source)]
        self.sources[file] = instead(self.sources[file], name, text)
        self.removed.add(name)

    def groups(self, **limits):
        """Change the limits of control groups."""
        real = cgroup.create
        self.patch.setattr(
            cgroup, "create", lambda name, most, *a: real(name, replace(most, **limits), *a)
        )
        self.patch.setattr(cgroup.Group, "allow_memory", lambda *_: None)

    def no_filter(self):
        """Take the system call list and Landlock away."""
        self.remove("system call list", "landlock")
        self.seccomp = False

    def apply(self):
        """Put the changed sources and settings in place."""
        for name, source in self.sources.items():
            (self.folder / name).write_text(source)
        self.folder.chmod(0o755)
        self.patch.setattr(namespace, "HERE", self.folder)
        self.patch.setattr(container, "INSIDE", self.sources["zygote.py"])
        real = namespace.command

        def command(*arguments):
            told = real(*arguments)
            for change in self.command:
                told["argv"] = change(told["argv"])
            return told

        self.patch.setattr(namespace, "command", command)
        self.patch.setattr(container, "find_unsafe_setting", lambda *_: "")
        self.patch.setattr(
            Container, "_create", lambda container, *arguments: self._create(container, *arguments)
        )

    def _create(self, container, name, image, runtime, execution, most):
        api, hole = container._api, self

        class Changed:
            def create_host_config(self, **given):
                if not hole.seccomp:
                    given["security_opt"] = [
                        *(o for o in given["security_opt"] if not o.startswith("seccomp")),
                        "seccomp=unconfined",
                    ]
                for key, value in hole.host_config.items():
                    given[key] = value(given[key]) if callable(value) else value
                return {**api.create_host_config(**given), **hole.raw}

            def create_container(self, *arguments, **given):
                return api.create_container(*arguments, **given | hole.made)

            def __getattr__(self, what):
                return getattr(api, what)

        container._api = Changed()
        try:
            return CREATE(container, name, image, runtime, execution, most)
        finally:
            container._api = api


Container, CREATE = container.Container, container.Container._create


def shared_pids(h):
    """Leave the job in the process namespace outside."""
    h.remove("process namespace")
    h.instead("own proc", 'mount("/proc", f"{ROOT}/proc", None, BIND | REC)')


OUT = {at: "mode=755,uid=1000,gid=1000" for at in ("/tmp", "/out", "/dev/shm")}
HOLES: list = []


def hole(*ids, docker=(), seen="got through", mode="warm", tries=1):
    """Name the rows that an ablation is for, and what shows that the program got through.

    Most defences lie in files that both boxes run, or outside any box: the namespace box proves
    them. `docker` names rows for which Docker's own settings are taken away.
    """

    def add(act):
        HOLES.append((act, "namespace", ids, seen, mode, tries))
        if docker:
            HOLES.append((act, "docker", docker, seen, mode, tries))
        return act

    return add


@hole("S01", "S01b", docker=("S01",))
def no_process_limit(h):
    h.groups(processes=10_000)
    h.remove("process limit", "data size")  # the second bounds the stacks of threads
    h.host_config["pids_limit"] = -1


@hole("S02", "S02b", docker=("S02",))
def no_memory_limit(h):
    h.groups(memory_bytes=8_000_000_000)
    h.remove("data size")
    h.host_config |= {"mem_limit": 8_000_000_000, "memswap_limit": 8_000_000_000}


@hole("S03", "S04", "S04b", docker=("S03",))
def no_sized_tmpfs(h):
    h.remove("sized tmpfs", "file size")
    h.groups(memory_bytes=8_000_000_000)
    h.host_config |= {"tmpfs": OUT, "mem_limit": 8_000_000_000, "memswap_limit": 8_000_000_000}


@hole("S04c")
def no_file_size_limit(h):
    h.remove("file size")


@hole("S04d", docker=("S04d",))
def writable_root(h):
    h.remove("read-only root", "landlock")
    h.made["user"] = "0:0"
    h.host_config["read_only"] = False


@hole("S05", "S05b", seen="limit: (cpu|wall)")
def no_output_limit(h):
    real = watch._breach
    h.patch.setattr(
        watch, "_breach", lambda limits, *a: real(replace(limits, output_bytes=1 << 50), *a)
    )


@hole("S06", seen="^ok")
def links_followed(h):
    h.remove("no links")


@hole("S07", seen="^ok", tries=20)
def links_followed_in_a_race(h):
    h.remove("no links")


@hole("S06b", seen="^ok")
def hard_links_taken(h):
    h.remove("one link")


@hole("S06c", seen="^ok")
def any_file_taken(h):
    h.remove("regular files")


@hole("S06d", seen="^ok")
def unopened_files_pass(h):
    h.remove("unopened files")


@hole("S06e", seen="box: its collector was killed")
def folders_reach_the_collector(h):
    h.remove("regular files", "one link")


@hole("S06f", seen="^ok")
def every_name_taken(h):
    every = '[(n, 10**6) for n in os.listdir("/out") if os.path.isfile(f"/out/{n}")]'
    h.instead("named outputs", f"for name, most in {every}:")
    h.patch.setattr(watch, "unpack", lambda stream, _: UNPACK(stream, {"..secret": 10**6}))


UNPACK = watch.unpack


@hole("S08", seen="holds 125")
def weights_unzipped(h):
    trusting(h, lambda data: {"w": np.frombuffer(gzip.decompress(data), np.float32)})


@hole("E01", "E01b", seen="intact=False")
def weights_unpickled(h):
    def load(data):
        if data[:2] == b"PK":
            box = zipfile.ZipFile(io.BytesIO(data))
            data = box.read(next(name for name in box.namelist() if name.endswith("data.pkl")))
        found = pickle.loads(data)
        for file in found.values() if isinstance(found, dict) else [found]:
            file.close()
        return {}

    trusting(h, load)


@hole("E12", "E13c", seen="holds 1 weights")
def header_unread(h):
    trusting(h, lambda data: {"w": np.zeros(1, np.float32)})


@hole("E13", seen="^ intact")
def infinite_weights_taken(h):
    h.patch.setattr(evals.score.np, "isfinite", lambda x: np.ones_like(x, bool))


@hole("E13b", seen="holds 16000000000000000000 weights")
def shapes_believed(h):
    def load(data):
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return {
            k: SimpleNamespace(size=math.prod(v["shape"]), dtype=np.float32)
            for k, v in header.items()
        }

    trusting(h, load)


def trusting(h, load):
    h.patch.setattr(evals.score, "strict_json", lambda *_, **__: {})
    h.patch.setattr(evals.score, "load", load)


@hole("E13d", seen="^ok")
def no_output_caps(h):
    for place, real in ((namespace, watch.watch), (docker, watch.watch)):

        def wide(execution, *a, real=real, **k):
            return real(
                replace(execution, limits=replace(execution.limits, output_bytes=1 << 40)), *a, **k
            )

        h.patch.setattr(place, "watch", wide)


@hole("S09", "S11", docker=("S09", "S11"), seen="got through.*intact=False")
def shared_network(h):
    h.remove("network namespace")
    h.no_filter()
    h.command.append(lambda argv: [argv[0], argv[1], "--share-net", *argv[2:]])
    h.host_config["network_mode"] = "host"
    h.made["network_disabled"] = False


@hole("S10", "E07", docker=("S10",))
def host_files_mounted(h):
    place = tempfile.mkdtemp(prefix="hl-", dir="/var/tmp")
    h.after.append(lambda: shutil.rmtree(place))
    os.chmod(place, 0o755)
    h.patch.setattr(tempfile, "tempdir", place)
    h.no_filter()
    h.instead("host folders", 'SHARED = ("opt", "usr", "lib", "lib64", "etc", "dev", "var")')
    h.command.append(lambda argv: [*argv[:1], "--ro-bind", place, place, *argv[1:]])
    h.host_config["binds"] = lambda given: given | {place: {"bind": place, "mode": "ro"}}


@hole("F05")
def scenarios_mounted(h):
    place = tempfile.mkdtemp(prefix="hl-", dir="/var/tmp")
    h.after.append(lambda: shutil.rmtree(place))
    os.chmod(place, 0o755)
    shutil.copy(SCENARIOS, place)
    h.no_filter()
    h.command.append(lambda argv: [*argv[:1], "--ro-bind", place, "/opt/scenarios", *argv[1:]])


@hole("S12", "S13", "B13", docker=("S12",))
def no_system_call_list(h):
    h.no_filter()


@hole("S18")
def no_system_call_list_for_namespaces(h):
    h.no_filter()


@hole("S14b", docker=("S14b",), seen="box: its collector was killed")
def a_collector_that_hears(h):
    h.remove("landlock")
    h.remove("deaf collector" if h.kind == "docker" else "own process group")


@hole("S14")
def shared_processes(h):
    h.remove("landlock")
    shared_pids(h)


@hole("W04", seen="got through|the other job: box")
def shared_processes_unfiltered(h):
    h.no_filter()
    shared_pids(h)


@hole("S15")
def descriptors_kept(h):
    h.remove("descriptors")


@hole("S16", docker=("S16",))
def environment_kept(h):
    h.remove("environment")
    h.command.append(lambda argv: [a for a in argv if a != "--clearenv"])
    h.instead("environment of the launch", 'os.execve(order["argv"][0], order["argv"], os.environ)')
    real = namespace.subprocess.Popen
    h.patch.setattr(
        namespace.subprocess,
        "Popen",
        lambda *a, **k: real(*a, **{n: v for n, v in k.items() if n != "env"}),
    )
    h.late = lambda: h.made.update(environment=dict(os.environ))


@hole("S17", docker=("S17",))
def core_dumps(h):
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("this shell forbids core dumps itself")
    h.remove("core dumps")
    h.host_config["ulimits"] = [{"Name": "core", "Soft": 1 << 20, "Hard": 1 << 20}]


@hole("S19", docker=("S19",))
def control_groups_writable(h):
    h.no_filter()
    h.remove("capability bounds", "capabilities")
    h.raw |= {"MaskedPaths": [], "ReadonlyPaths": []}
    h.made["user"] = "0:0"


@hole("S20")
def specification_unchecked(h):
    h.patch.setattr(monitor, "find_unsafe_setting", lambda *_: "")


@hole("S21", "S21b", "W01", "W03", docker=("S21",), tries=3)
def shared_tmp(h):
    place = tempfile.mkdtemp(prefix="hl-", dir="/var/tmp")
    h.after.append(lambda: shutil.rmtree(place))
    os.chmod(place, 0o777)
    own = 'mount("tmpfs", f"{ROOT}/{name}", "tmpfs", NOSUID | NODEV, size)'
    h.instead(
        "own tmpfs",
        f'mount("/tmp", f"{{ROOT}}/tmp", None, BIND) if name == "tmp" else {own}',
    )
    h.command.append(
        lambda argv: [
            *argv[: argv.index("--size")],
            "--bind",
            place,
            "/tmp",
            *argv[argv.index("--size") + 4 :],
        ]
    )
    h.host_config |= {
        "binds": lambda given: given | {place: {"bind": "/tmp", "mode": "rw"}},
        "tmpfs": lambda given: {at: size for at, size in given.items() if at != "/tmp"},
    }


@hole("S22")
def a_terminal(h):
    h.remove("landlock")
    h.instead("no terminal", "os.dup2(os.openpty()[0], 0)")


@hole("S24")
def run_without_a_box(h):
    h.patch.setattr(monitor, "NamespaceBox", lambda *_: "an unsandboxed run")


@hole("B01")
def root_account_unchecked(h):
    real = monitor.budget.reserve
    h.patch.setattr(
        monitor.budget,
        "reserve",
        lambda txn, names, amount: real(txn, [n for n in names if n != "root"], amount),
    )


@hole("B03", seen="charged 0")
def reservations_dropped(h):
    h.patch.setattr(monitor, "reconcile", lambda _: None)


@hole("A02", "A20")
def grants_not_consumed(h):
    h.patch.setattr(gate.launch, "find_misuse", lambda *_: "")


@hole("B04")
def amounts_unchecked(h):
    h.patch.setattr(Amount, "__post_init__", lambda _: None)


# A starved attack is tried anew with a long wall limit, and then ends by itself.
@hole("B05", "B07", "B11", seen="limit: wall|signal|got through")
def cpu_unwatched(h):
    real = watch._breach
    h.patch.setattr(watch, "_breach", lambda limits, *a: real(replace(limits, cpu_us=1 << 50), *a))


@hole("B06", seen="^ok")
def cpu_of_children_uncharged(h):
    h.patch.setattr(cgroup.Group, "cpu_us", lambda _: 0)


@hole("B08", "M03", docker=("B08", "M03"), seen="intact=False")
def nothing_killed(h):
    kept = []
    h.after.append(lambda: [real(box, box._api) for box in kept])
    real = Container.remove
    h.patch.setattr(Container, "remove", lambda container, api: kept.append(container))
    h.patch.setattr(DockerBox, "_kill", lambda *_: None)
    h.patch.setattr(namespace, "_kill", lambda *_: None)
    shared_pids(h)
    if h.kind == "docker":
        h.instead("nothing left", "break")
        h.instead(
            "end",
            "stream.write(collect(order, os.waitstatus_to_exitcode(status)))\n    signal.pause()",
        )
    else:
        real_kill = cgroup.Group.kill
        h.after.append(lambda: [real_kill(group) for group in groups])
        groups = []
        h.patch.setattr(cgroup.Group, "kill", lambda group: groups.append(group))


@hole("B08b", "B09", seen="killed as its box was stopped")
def wall_unwatched(h):
    real, began = watch._breach, []

    def blind(limits, started, *a):
        began.append(time.monotonic())
        if time.monotonic() - started > 8:  # the test ends it, three seconds late
            h.box.stop()
        return real(replace(limits, wall_us=1 << 50), started, *a)

    h.patch.setattr(watch, "_breach", blind)


@hole("B10")
def heads_unchecked(h):
    h.patch.setattr(monitor, "check_checkpoints", lambda *_: None)


@hole("B14", seen="^ok")
def unknown_runs_on(h):
    class Deaf:
        def __init__(self, group):
            self.group = group

        def __getattr__(self, name):
            return getattr(self.group, name)

        def cpu_us(self):
            with contextlib.suppress(OSError):
                return self.group.cpu_us()
            return 0

    real = watch.watch
    h.patch.setattr(
        namespace,
        "watch",
        lambda execution, channel, group, kill, **k: real(
            execution, channel, group and Deaf(group), kill, **k
        ),
    )


@hole("B15", docker=("B15",))
def a_device(h):
    device = ["--dev-bind", "/dev/null", "/dev/hl-device"]
    h.command.append(
        lambda argv: [
            *argv[: argv.index("--remount-ro")],
            *device,
            *argv[argv.index("--remount-ro") :],
        ]
    )
    h.host_config["devices"] = ["/dev/null:/dev/hl-device:rwm"]


@hole("E02", "E03", "A19")
def proposals_believed(h):
    h.patch.setattr(monitor, "strict_json", lambda given: given)
    h.patch.setattr(monitor, "parse", lambda _, given: given)
    h.patch.setattr(monitor, "apply_proposal", lambda *_: "a plan")


@hole("E04", "E16", "F04", docker=("E04",))
def inputs_writable(h):
    h.remove("read-only inputs")
    h.remove("landlock")
    h.made["user"] = "0:0"
    h.host_config["binds"] = lambda given: {
        at: {**what, "mode": "rw"} for at, what in given.items()
    }


@hole("E05")
def answers_inside(h):
    h.instead("no answers", 'sys.argv = ["heirloop"]\n    answers = [1, 2, 3]')


@hole("E06", seen="exact_match")
def scores_believed(h):
    h.patch.setattr(run, "score", lambda *_: {"exact_match": 1.0})


@hole("E11", seen="^program: exit 1; program: exit 1 ")
def copies_taken(h):
    h.patch.setattr(replicate, "refuse_copy", lambda *_: "")


@hole("A01")
def bytes_unchecked(h):
    h.patch.setattr(Store, "get", lambda store, name: store._path(name).read_bytes())


@hole("A03", "A04")
def mandates_unchecked(h):
    h.patch.setattr(
        gate.admit,
        "check_mandate",
        lambda *given: parse(Mandate, keys.payload_unchecked(given[-1])),
    )


def patched(ids, seen, *pairs):
    """Name an ablation that replaces functions: (place, name, what stands there instead)."""
    hole(*ids, seen=seen)(
        lambda h: [h.patch.setattr(place, name, instead) for place, name, instead in pairs]
    )


def same(text, lines=False):
    return text


def unversioned(memory, entry):
    """Take an amendment without another version or another digest of its decided part."""
    before = memory.rules
    FOLD(memory, entry)
    if entry.kind == "amended":
        memory.rules = replace(memory.rules, version=before.version, decided=before.decided)


def unbound_to_the_last_entry(transaction, *given):
    """Take the machine's clock, though it may stand before the last entry."""
    BEGIN(transaction, *given)
    transaction._time = ledger.datetime.now(UTC).isoformat(timespec="milliseconds")


def unrecalled(memory, entry):
    """Read no recall."""
    if entry.kind != "recall":
        FOLD(memory, entry)


def anything(memory, moment, subject, *rest):
    """Let every plan but the baseline pass without a decision."""
    if memory.plans[subject].purpose == "baseline":
        return QUORUM(memory, moment, subject, *rest)
    return gate.memory.Decision("allowed", by=("silence",))


Memory = gate.memory.Memory
BEGIN = ledger.Transaction.__init__
FOLD, PINNED, QUORUM, FILE = (
    gate.fold.fold,
    Memory.pinned,
    gate.quorum.ask_quorum,
    difference.compare_files,
)
UNSIGNED = [(keys, "verify", lambda envelope, *_: keys.payload_unchecked(envelope))]
patched(("A05", "A15c", "A17b"), "got through", (Memory, "pinned", lambda _, given: given.reviewer))
patched(("A05b", "A05c", "A05d", "U04"), "got through", *UNSIGNED)
patched(("A06", "A06c"), "got through", (gate.quorum, "is_own_request", lambda *_: False))
patched(
    ("A06b",),
    "got through",
    (Memory, "pinned", lambda self, given: PINNED(self, given) and given.reviewer),
)
patched(("A07", "A07b"), "got through", (gate.quorum, "ask_quorum", anything))
patched(("A07c",), "got through", (attack_gate, "compose_settings", lambda _: "a study"))
patched(("A08",), "got through", (terminal, "at_terminal", lambda: True))
patched(("A08b",), "got through", (terminal, "confirm_digest", lambda *_: None))
patched(("A09", "A09b", "A10", "A10b"), "printed raw", (lines, "visible", same))
patched(("A09c",), "printed raw", (terminal, "visible", same))
patched(("A10c",), "not named", (flags, "confusables", lambda _: ()))
patched(("A10d",), "out of sight", (lines, "visible", same))
patched(("A15b",), "forges a line", (lines, "visible", same))
patched(("A10e",), "markup acts", (markup, "AUTOESCAPE", False))
patched(("A11",), "got through", (view, "SHOWN_BYTES", 1 << 40))
patched(
    ("A11b",),
    "is cut",
    (
        difference,
        "compare_files",
        lambda *a: (lambda one: replace(one, lines_raw=one.lines_raw[:200]))(FILE(*a)),
    ),
)
patched(("A12",), "got through.*hostile", (gate.fold, "matches", lambda *_: True))
patched(("A12b",), "got through", (gate.admit, "check_same_facts", lambda *_: None))
patched(("A13", "A13c"), "got through: 60 wait", (gate.requests, "find_excess", lambda *_: ""))
patched(("A13b",), "got through: people see 60", (gate.refusals, "REFUSALS_PER_HOUR", 10**9))
patched(("A14",), "got through", (gate.mandate, "drift", lambda *_: 0))
patched(("A14b",), "got through", (gate.fold, "HUMAN", ("person", "external", "simulated")))
patched(("A15",), "got through", (gate.quorum, "names", lambda *_: True))
patched(("A16",), "got through", (Caps, "__post_init__", lambda _: None))
patched(
    ("A16b",),
    "got through",
    (gate.quorum, "ask_quorum", anything),
    (gate.admit, "check_same_facts", lambda *_: None),
)
patched(("A16c", "U10b"), "got through", (gate.flaw, "find_flaw", lambda *_: ""))
patched(("M01", "M01b", "M02"), "got through", (regions, "CHANGE_CLASSES", WIDE))
patched(
    ("F05b",),
    "got through",
    (store, "NAME", re.compile(".+")),
    (regions, "CHANGE_CLASSES", WIDE),
)
patched(("M02b",), "got through", (sandbox_run, "allowed", lambda *_: True))


@hole("A17")
@hole("E15")
def settings_unpinned(h):
    def late():  # the suite's own study is open by then
        for place in (study_open, study_root):
            h.patch.setattr(place, "decided", lambda _: "0" * 64)

    h.late = late


patched(("A17c",), "got through", (verify_run, "rederive", lambda ledger, *_: unchecked(ledger)))
patched(("A18", "A18b", "A18c"), "got through", (gate.fold, "fold", unversioned))
patched(("E15b", "U08"), "got through", (gate.launch, "check_launch", lambda *_: None))
patched(("E15c",), "got through", (gate.Gate, "decide_within", lambda *_: SimpleNamespace(by=())))
patched(
    ("U01", "U02"),
    "got through",
    (chain, "checked", lambda number, name, data, *_: flatten(json.loads(data), name)),
    (verify_run, "rederive", lambda ledger, *_: unchecked(ledger)),
    (verify_heads, "check_checkpoints", lambda *_: [1 << 40]),
)
patched(("U01b",), "got through", (attack_ledger, "verify", lambda _: "an empty ledger"))
patched(("U01c",), "got through", (verify_heads, "check_end", lambda *_: None))
patched(
    ("U03",),
    "got through",
    (
        insider,
        "strict_json",
        lambda t: json.loads(t if isinstance(t, str) else t.decode(errors="replace")),
    ),
)
patched(("U04b",), "got through", (heads, "check_signature", lambda *_: None))
patched(
    ("U05",), "got through", (verify_heads, "check_checkpoints", lambda entries, *_: [len(entries)])
)
patched(("U05b",), "got through", (verify_heads, "check_heads", lambda *_: ([[1 << 40]], {})))
patched(
    ("U06",),
    "got through",
    (ledger.Transaction, "__init__", unbound_to_the_last_entry),
    (gate.Gate, "now", lambda _: gate.decider.time.time()),
)


def without(*rules):
    """Return what takes rules of an accord away."""
    return (accord_check, "RULES", tuple(one for one in accord_check.RULES if one not in rules))


patched(("P01",), "got through", without(accord_check.find_starts))
patched(
    ("P01b",),
    "got through",
    (evidence, "need_covered", lambda *_: None),
    without(accord_check.find_gaps),
)
patched(("P02",), "got through", (case, "need_own", lambda *_: None), (accord_check, "RULES", ()))
patched(("P02b", "P05"), "got through", without(accord_check.find_missing_heads))
patched(
    ("P03", "P03b"),
    "got through",
    without(accord_check.find_clocks, accord_check.find_missing_heads),
)
patched(("P03c",), "got through", without(accord_check.find_late_signature, accord_check.find_gaps))
patched(("P04",), "got through", without(accord_check.find_second_ledgers))
patched(("P04b",), "got through", without(accord_check.find_cut_ends))
patched(("P06",), "got through", without(accord_check.find_statements))
patched(("P07",), "got through", without(accord_check.find_misquotes))
patched(("P08",), "got through", (terms.intoto, "list_signers", lambda _, publics: [*publics]))
patched(("U07",), "got through", (verify_heads, "check_end", lambda *_: None))
patched(("U08b",), "got through", (Memory, "may_resume", lambda _: True))
patched(("U09",), "charged in full: 0", (monitor, "reconcile", lambda _: 0))
patched(
    ("U10",),
    "got through",
    (gate.fold, "fold", unrecalled),
)


def unchecked(ledger):
    """Return a replay that checked nothing, with the limits that a ledger's entries claim."""
    balances = charges.replay(ledger.entries())
    limits = {
        name: Amount(**{r: cell["limit"] for r, cell in cells.items()})
        for name, cells in balances.items()
    }
    return SimpleNamespace(balances=balances, limits=limits, findings=[])


# Judging.


@hole("E08", "E14", seen=r"climbed [1-9]|different answers")
def every_score_told(h):
    h.patch.setattr(
        ladder,
        "ladder",
        lambda values, items, **_: [
            ladder.Feedback(outcome="scored", score=value) for value in values
        ],
    )


@hole("E09")
def probabilities_believed(h):
    h.patch.setattr(
        evals.score,
        "_read",
        lambda data, _: (lambda t: (t["tokens"], np.nan_to_num(t["probabilities"])))(
            evals.score.load(data)
        ),
    )


@hole("E09b")
def another_task_scored(h):
    h.patch.setattr(
        evals.score, "_read", lambda data, shape: (np.zeros(shape[:2], np.uint8), np.ones(shape))
    )


@hole("E10", "E11b", seen="^program: exit 1; program: exit 1 ")
def near_copies_taken(h):
    h.patch.setattr(replicate, "COPY", -1.0)


@hole("E10b", seen="^1 of 4")
def one_training_file(h):
    real = replicate.draw_train
    h.patch.setattr(replicate, "draw_train", lambda task, secret, _: real(task, secret, 1))


@hole("E13e")
def headers_unread(h):
    h.patch.setattr(evals.score, "tensors", lambda data, _: dict(evals.score.load(data)))


@hole("S25")
def any_request_is_a_chat(h):
    h.patch.setattr(model, "need", lambda *_: None)


def other_porter(h, defence, text=""):
    """Let doors start a porter without a defence."""
    place = h.folder / "porter.py"
    place.write_text(instead((ROOT / "sandbox/door/porter.py").read_text(), defence, text))
    h.patch.setattr(
        spawn,
        "START",
        "import sys, types; sys.path.insert(0, sys.argv.pop(1)); import configs.build;"
        f"p = types.ModuleType('p'); sys.modules['p'] = p; exec(open({str(place)!r}).read(),"
        " p.__dict__); p.main()",
    )


@hole("S26")
def any_number_open(h):
    other_porter(h, "open connections")


@hole("S26b", "F02")
def slow_connections_stay(h):
    other_porter(h, "slow connections", "if False:")


@hole("F01")
def bodies_of_any_size(h):
    other_porter(h, "bytes of a body", "if False:")
    place = h.folder / "porter.py"  # the parser of JSON has the same bound
    place.write_text(place.read_text().replace("8_192, 262_144", "8_192, 900_000"))


@hole("S26c")
def requests_behind_a_request(h):
    other_porter(h, "one request")


VISIT = desk.Desk.visit
patched(("F01b",), "got through", (desk, "MOST_LETTERS", 10**12))
patched(
    ("F03",),
    "got through",
    (desk, "is_met", lambda expect, reply, *more: reply is None or is_met(expect, reply, *more)),
)
patched(
    ("F03b",),
    "got through",
    (desk.Desk, "visit", lambda own, replies: VISIT(own, sorted(dict(replies).items()))),
)
patched(("F06",), "got through", (scenarios, "is_right", lambda reply, *_: bool(reply)))
patched(("F06b",), "got through", (inputs, "find_flaw", lambda *_: ""))


@hole("S26d")
def any_replay_is_answered(h):
    h.patch.setattr(ReplayedDoor, "answer", lambda *_: Reply(status=200, body=b"{}"))


@hole("S26e")
def doors_without_a_deadline(h):
    h.patch.setattr(door.Door, "_handle", lambda door, request: door._decide(request))


@hole("S26f")
def any_peer(h):
    h.patch.setattr(door.Door, "_is_inside", lambda *_: True)


@hole("S27", docker=("S27",))
def any_call_of_an_agent(h):
    h.remove("system call list")
    h.seccomp = False  # the engine's profile, which closes the same


@hole("S27b")
def any_protocol_of_an_agent(h):
    h.patch.setattr(seccomp, "TCP", 262)


@hole("E04b")
def starting_files_copied(h):
    h.patch.setattr(environment, "STARTS", re.compile("nothing"))


@hole("E16b")
def overlap_uncounted(h):
    h.patch.setattr(study_items, "overlap", lambda *_: 0)


@hole("E16c", seen=r"right on 1\.00")
def held_out_items_trained_on(h):
    real = judging.draw_train
    h.patch.setattr(
        judging,
        "draw_train",
        lambda task, secret, seed: np.concatenate(
            [real(task, secret, seed), *judging.held_out(task, secret).values()]
        ),
    )


@hole("E16d")
def computable_unflagged(h):
    h.patch.setattr(gate.mandate, "computable", lambda *_: False)


@hole("E17")
def splits_of_different_size(h):
    h.patch.setattr(
        study_items, "slices", lambda task, secret, split, items: {split: items[: len(split)]}
    )


CASES = [
    pytest.param(*one, id=f"{one[1]}-{'-'.join(one[2])}", marks=on(one[1]).marks) for one in HOLES
]


@pytest.mark.parametrize(("act", "kind", "ids", "seen", "mode", "tries"), CASES)
def test_without_its_defence_the_attack_gets_through(
    act, kind, ids, seen, mode, tries, monkeypatch, tmp_path
):
    box = need_box(lambda: MAKE[kind]("cold"), kind)
    box.close()
    if box.tier == "C" and {*ids} & {*BOUNDS, "B06", "B14"}:
        pytest.skip("no writable control group: the tier does not promise it")
    with tempfile.TemporaryDirectory(prefix="hl-hole-") as folder:
        h = Hole(monkeypatch, Path(folder), kind)
        act(h)
        h.apply()
        try:
            for one in ids:
                got_through(h, lambda: MAKE[kind](mode), ROWS[one], seen, tries)
        finally:
            monkeypatch.undo()
            for clear in h.after:
                clear()


def got_through(h, make, row, seen, tries):
    """Try a row in a study of its own, until it gets through; it must, within so many tries."""
    with suite.open_suite(make) as opened:
        h.box = opened.box
        getattr(h, "late", lambda: None)()
        for _ in range(tries):
            result = run.attempt(opened, row)
            outcome, stopped = f"{result['said']} intact={result['host_intact']}", result["stopped"]
            if not stopped and re.search(seen, outcome):
                break
    assert not stopped and re.search(seen, outcome), (row.id, outcome)


def test_every_defence_that_a_source_marks_is_taken_away_by_an_ablation(monkeypatch, tmp_path):
    sources = [(namespace.HERE / file).read_text() for file in MARKED]
    marked, removed = [name for source in sources for name in marks(source)], set()
    for act, kind, *_ in HOLES:
        h = Hole(monkeypatch, tmp_path, kind)
        with contextlib.suppress(pytest.skip.Exception):
            act(h)
        monkeypatch.undo()
        for clear in h.after:
            clear()
        removed |= h.removed
    assert len(set(marked)) == len(marked) and set(marked) == removed
