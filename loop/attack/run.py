"""`heirloop attack`: send every attack of the catalogue through the one door into a real box, and
tell what stopped it.

Each attack is a plan of a throw-away study with small limits. A listener, a file, a process and a
secret of the host stand by as canaries. Nothing here can switch a defence off.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save

from configs.build import parse, plain, strict_json
from configs.errors import BadInput, BudgetExhausted, NoBox, VerificationFailed
from configs.job import Order
from configs.records import Amount, Input, Job, JobResult, Plan, Proposal, Purpose
from evals.attacks.table import ATTACKS, Attack, text
from evals.data import draw_train
from evals.score import inspect_weights, score
from loop.attack.court import Court, instead, refused, release
from loop.attack.gate import GATE
from loop.attack.judging import JUDGED
from loop.attack.ledger import LEDGER
from loop.measure.replicate import Replicate, measure
from loop.plan import Draft, Planned, apply_proposal, make_plan, source
from loop.settings import composed
from loop.study.open import open_study
from sandbox import budget, keys
from sandbox.box.base import Box
from sandbox.box.docker import refusal
from sandbox.box.namespace import NamespaceBox
from sandbox.canonical import digest
from sandbox.decision import new_mandate
from sandbox.gate import Gate
from sandbox.ledger import Ledger, check_checkpoints, checkpoint
from sandbox.run import OUTPUTS, reconcile, run

SETTINGS = (
    "study.name=attack",
    "autonomy=autonomous",
    "gates=unattended",
    "gates.unattended.classes=[recipe,patch,promote]",
    "gates.unattended.jobs=1000",
    "gates.unattended.drift=1000000",
    "gates.unattended.per_hour=1000000",
    "gates.unattended.cpu_seconds=3000",
    "budget.jobs=1000",
    "budget.cpu_seconds=3000",
    "budget.wall_seconds=20000",
    "budget.output_mib=2000",
    "task.train_items=500",
    "task.held_out=50",
    "task.planned_cpu_us=1000000",
    *(
        f"budget.{role}.{name}={value}"
        for role in ("train", "predict")
        for name, value in (
            ("cpu_us", 2_000_000),
            ("wall_us", 10_000_000),
            ("memory_bytes", 200_000_000),
            ("processes", 40),
            ("disk_bytes", 8_000_000),
            ("output_bytes", 4_000_000),
        )
    ),
)
"""One set of small limits for every attack."""


@dataclass(slots=True)
class Host:
    """The canaries of the host."""

    folder: Path
    port: int
    name: str
    secret: str
    mark: str
    "name that the processes of these attacks give themselves"
    reached: list[str]
    process: subprocess.Popen[bytes]

    def intact(self) -> bool:
        """Tell whether nothing was reached, changed or left behind."""
        alive, files = self.process.poll() is None, sorted(p.name for p in self.folder.iterdir())
        return (
            alive
            and not self.reached
            and files == ["canary", "socket"]
            and not survivors(self.mark)
        )

    def told(self, program: str, root: Path) -> str:
        """Return a program with the places that it attacks."""
        places = {
            "PORT": str(self.port),
            "NAME": self.name,
            "MARK": self.mark,
            "SOCK": str(self.folder / "socket"),
            "FILE": str(self.folder / "canary"),
            "PID": str(self.process.pid),
            "ROOT": str(root),
            "HOME": str(keys.home()),
        }
        for name, value in places.items():
            program = program.replace(f"@{name}@", value)
        return program


@contextlib.contextmanager
def host() -> Iterator[Host]:
    """Set the canaries up: listeners on loopback, an abstract and a named socket, a file, a
    process, a secret in the environment.
    """
    with tempfile.TemporaryDirectory(prefix="hl-canary-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        secret = os.urandom(12).hex()
        (folder / "canary").write_text(secret)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract, named = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        abstract.bind(f"\0hl-{secret}")
        named.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o777)
        reached: list[str] = []

        def watch(server: socket.socket, what: str) -> None:
            with contextlib.suppress(OSError):
                server.listen()
                while True:
                    server.accept()[0].close()
                    reached.append(what)

        for server, what in (
            (listener, "loopback"),
            (abstract, "abstract socket"),
            (named, "named socket"),
        ):
            threading.Thread(target=watch, args=(server, what), daemon=True).start()
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        os.environ["HEIRLOOP_CANARY"] = secret
        try:
            yield Host(
                folder,
                listener.getsockname()[1],
                f"hl-{secret}",
                secret,
                f"hl-{secret[:8]}",
                reached,
                process,
            )
        finally:
            os.environ.pop("HEIRLOOP_CANARY", None)
            process.kill()
            process.wait()
            for server in (listener, abstract, named):
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)


def survivors(name: str) -> list[int]:
    """Return the processes of an attack that still live (a dead one that nobody has waited for does
    not).
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            before, _, after = path.read_text().rpartition(") ")
            if before.partition(" (")[2] == name and after[0] not in "ZX":
                found.append(int(path.parent.name))
    return found


class Suite:
    """A throw-away study in a box, against which attacks are tried."""

    def __init__(self, box: Box, folder: Path, canaries: Host) -> None:
        self.box, self.host = box, canaries
        config = composed([*SETTINGS, f"runs={folder}"])
        key = Ed25519PrivateKey.generate()
        most = config.gates.unattended
        assert most is not None
        place = keys.home() / "mandates"
        place.mkdir(parents=True, exist_ok=True)
        made = new_mandate(config, most, "unattended", "attack", keys.public_hex(key))
        (place / "attack-1.json").write_bytes(keys.sign(plain(made), key, "mandate"))
        self.running, self.count, self.courts = open_study(config, box), 0, list[Court]()

    def court(self, *changes: str, **given: Any) -> Court:
        """Open a study of its own, whose gate people hold; `changes` replace its settings."""
        names = ("gates", "autonomy", "study")
        limits = tuple(
            one for one in SETTINGS if one.partition("=")[0].partition(".")[0] not in names
        )
        own = (
            "gates=attended",
            "autonomy=assisted",
            f"study.name=court{os.urandom(6).hex()}",
            "study.arms=[local]",
            f"runs={self.running.config.runs}",
        )
        self.courts.append(Court(tuple(instead((*limits, *own), *changes)), self.box, **given))
        return self.courts[-1]

    def plan(self, files: dict[str, bytes], purpose: Purpose = "baseline") -> tuple[str, Plan]:
        """Record and grant a plan whose bundle holds these files."""
        r, self.count = self.running, self.count + 1
        recipe, bundle = r.config.task.baseline, r.sandbox.store.put_bundle(source() | files)
        draft = Draft(
            generation=0,
            index=self.count,
            purpose=purpose,
            change_class="patch",
            recipe=recipe,
            bundle=bundle,
            reference=None if purpose == "baseline" else (bundle, recipe),
            proposal=Proposal(hypothesis="an attack", knobs={}),
        )
        plan = make_plan(r.config, draft, study=r.root, version=1, arm=r.config.arms()[0], repeat=0)
        name = digest(plan)
        r.ledger.append("plan", {"digest": name, "plan": plain(plan)})
        r.gate.grant(name)
        return name, plan

    def job(self, name: str, role: str) -> Job:
        """Return the job of a recorded plan."""
        r = self.running
        plan = r.archive.facts().plans[name]
        task = r.config.task.format()
        data = save(
            {
                "items": draw_train(task, r.secret, 1),
                "questions": draw_train(task, r.secret, 2)[:10],
            }
        )
        entry = r.ledger.append(
            "data", {"plan": name, "index": 0, "digest": r.sandbox.store.put(data)}
        )
        order = Order(role=role, task=task, recipe=plan.recipe, seed=self.count, steps=plan.steps)  # type: ignore[arg-type]
        given = Input(name="data.safetensors", digest=entry.body["digest"], sequence=entry.sequence)
        limits = r.config.budget.train if role == "train" else r.config.budget.predict
        return Job(
            plan=name,
            role=role,  # type: ignore[arg-type]
            index=0,
            bundle=plan.bundle,
            order=order,
            inputs=(given,),
            limits=limits,
        )

    def send(self, program: str, role: str) -> JobResult:
        """Run one hostile program as a job through the door."""
        text = self.host.told(program, Path(self.running.config.runs)).encode()
        name, _ = self.plan({f"models/{role}.py": text})
        job = self.job(name, role)
        return run(self.running.sandbox, job, self.running.archive.facts().grants[name, role, 0])

    def attempt(self, attack: Attack) -> dict[str, Any]:
        """Try one attack; return its row: what stopped it, and whether that is what should have."""
        started, before = time.monotonic(), len(self.running.ledger.entries())
        self.courts.clear()
        overuse, said, leaked = 0.0, "", False
        if attack.program():
            with ThreadPoolExecutor(1) as pool:
                other = (
                    pool.submit(self.send, text(attack.beside), "train") if attack.beside else None
                )
                result = self.send(attack.program(), attack.role)
            said, leaked = self.judge(attack, result)
            used = result.charged.cpu_us - result.startup_cpu_us
            overuse = (
                max(0.0, (used - self.running.config.budget.train.cpu_us) / 1e6)
                if result.charged_by == "cgroup"
                else 0.0
            )
            if attack.again or other:
                second = other.result() if other else self.send(text(attack.again), "train")
                told, through = self.judge(attack, second)
                leaked, said = (
                    leaked or through,
                    said if told == "ok: exit 0" else f"the other job: {told}",
                )
        else:
            said = DOOR[attack.id](self)
        expected = re.search(attack.after or attack.expect, said) is not None
        entries = [
            *self.running.ledger.entries()[before:],
            *(e for court in self.courts for e in court.running.ledger.entries()),
        ]
        incident = any(e.kind == "incident" for e in entries)
        intact = self.host.intact()
        stopped = expected and intact and not leaked and incident >= attack.incident
        return {
            "id": attack.id,
            "box": self.box.kind,
            "mode": "",
            "stopped": stopped,
            "by": attack.by if stopped else "nobody",
            "expected": attack.by,
            "seconds": round(time.monotonic() - started, 3),
            "overuse": round(overuse, 3),
            "incident": incident,
            "host_intact": intact,
            "what": attack.what,
            "said": said,
        }

    def judge(self, attack: Attack, result: JobResult) -> tuple[str, bool]:
        """Return (what ended it, whether something got through) of a job's result."""
        r = self.running
        store, task = r.sandbox.store, r.config.task.format()
        log = store.get(result.log).decode(errors="replace")
        out = {name: store.get(blob) for name, blob in result.outputs.items()}
        through = [line for line in log.splitlines() if line.startswith("THROUGH")]
        every = log.encode() + b"".join(out.values())
        leaked = (
            bool(through)
            or self.host.secret.encode() in every
            or b"recipe" in out.get("weights.safetensors", b"")
        )
        leaked = leaked or bool(out.keys() - OUTPUTS[attack.role].keys())
        if (
            result.charged_by == "cgroup"
            and attack.id == "B06"
            and result.charged.cpu_us - result.startup_cpu_us < 1_000_000
        ):
            leaked = True
        said = f"{result.status}: {result.detail}"
        if attack.after and result.status == "ok":
            weights, tokens = (
                out.get("weights.safetensors", b""),
                out.get("predictions.safetensors", b""),
            )
            found = (
                score(tokens, r.splits["feedback"], task, r.config.task.baseline, "feedback", 1, 1)
                if attack.role == "predict"
                else (inspect_weights(weights, task, r.config.task.baseline))
            )
            said = str(found)
        return (f"{said}; got through: {through[0][:100]}" if through else said), leaked


def _swap_bundle(s: Suite) -> str:
    name, plan = s.plan({})
    job, grant = s.job(name, "train"), s.running.archive.facts().grants[name, "train", 0]
    path = s.running.sandbox.store._path(
        strict_json(s.running.sandbox.store.get(plan.bundle))["models/train.py"]
    )
    kept = path.read_bytes()
    path.write_bytes(kept + b"\n# changed after approval")
    first = refused(lambda: run(s.running.sandbox, job, grant), VerificationFailed)
    path.write_bytes(kept)
    other = s.running.sandbox.store.put_bundle(
        source() | {"models/train.py": b"def main(i, o): pass"}
    )
    second = refused(
        lambda: run(s.running.sandbox, replace(job, bundle=other), grant), VerificationFailed
    )
    return f"{first}; {second}" if "got through" in second else first


def _replay_grant(s: Suite) -> str:
    name, _ = s.plan({"models/train.py": b"def main(i, o): pass"})
    job, grant = s.job(name, "train"), s.running.archive.facts().grants[name, "train", 0]
    run(s.running.sandbox, job, grant)
    return refused(lambda: run(s.running.sandbox, job, grant), VerificationFailed)


def _incidents(s: Suite, envelope: bytes) -> str:
    gate = Gate(s.running.ledger, s.running.sandbox.store)
    before = len(s.running.ledger.entries())
    gate.admit(envelope, "mandate")
    return (
        "; ".join(str(e.body.get("title")) for e in s.running.ledger.entries()[before:])
        or "nothing"
    )


def _signed(s: Suite, **changes: Any) -> bytes:
    config, key = s.running.config, Ed25519PrivateKey.generate()
    assert config.gates.unattended is not None
    made = new_mandate(config, config.gates.unattended, "unattended", "x", keys.public_hex(key))
    return keys.sign(plain(made) | changes, key, "mandate")


def _propose(texts: tuple[str, ...]) -> Callable[[Suite], str]:
    def act(s: Suite) -> str:
        files, recipe = source(), s.running.config.task.baseline
        said = [
            refused(
                lambda t=t: apply_proposal(recipe, files, parse(Proposal, strict_json(t))),  # type: ignore[misc]
                BadInput,
            )
            for t in texts
        ]
        return next((one for one in said if "got through" in one), said[0])

    return act


def _crash(s: Suite) -> str:
    name, _ = s.plan({"models/train.py": b"def main(i, o): pass"})
    job, grant = s.job(name, "train"), s.running.archive.facts().grants[name, "train", 0]
    spent = s.running.ledger.read(budget.balances)["root"]["cpu_us"]["spent"]
    real, s.running.sandbox.box.run = s.running.sandbox.box.run, _die  # type: ignore[assignment, method-assign]
    with contextlib.suppress(InterruptedError):
        run(s.running.sandbox, job, grant)
    s.running.sandbox.box.run = real  # type: ignore[method-assign]
    reconcile(s.running.ledger)
    charged = s.running.ledger.read(budget.balances)["root"]["cpu_us"]["spent"] - spent
    again = refused(lambda: run(s.running.sandbox, job, grant), VerificationFailed)
    return f"{again}; charged {'in full' if charged == job.limits.cpu_us else charged}"


def _die(_: object) -> Any:
    raise InterruptedError("the trusted process is killed here")


def _split_budget(s: Suite) -> str:
    left = s.running.ledger.read(budget.balances)["root"]["cpu_us"]
    half = Amount(cpu_us=(left["limit"] - left["spent"] - left["reserved"]) * 2 // 3)

    def both() -> None:
        with s.running.ledger.transaction() as txn:
            budget.reserve(txn, "a", ("root", "train"), half)
            budget.reserve(txn, "b", ("root", "predict"), half)

    return refused(both, BudgetExhausted)


def _amounts(_: Suite) -> str:
    bad: tuple[Any, ...] = (-1, float("nan"), float("inf"), 2**53, True, "1", 1.0)
    said = [refused(lambda v=v: Amount(cpu_us=v), BadInput) for v in bad]  # type: ignore[misc]
    return next((one for one in said if "got through" in one), said[0])


def _cut_ledger(s: Suite) -> str:
    entries, key, place = (
        s.running.ledger.entries(),
        Ed25519PrivateKey.generate(),
        s.host.folder.parent / f"heads-{os.getpid()}.jsonl",
    )
    checkpoint(s.running.ledger, key, (place,))
    try:
        gone = refused(lambda: Ledger.file(place.with_suffix(".sqlite")), VerificationFailed)
        cut = refused(
            lambda: check_checkpoints(entries[:-3], keys.public_hex(key), place), VerificationFailed
        )
        return f"{gone}; {cut}" if "got through" in gone else cut
    finally:
        place.unlink()


def _no_box(_: Suite) -> str:
    return refused(lambda: NamespaceBox(Path("/nonexistent")), NoBox)


def _specifications(_: Suite) -> str:
    good: dict[str, Any] = {
        "Privileged": False,
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "CapDrop": ["ALL"],
        "Binds": ["/b:/in:ro"],
        "IpcMode": "private",
    }
    bad: tuple[dict[str, Any], ...] = (
        {"Privileged": True},
        {"PidMode": "host"},
        {"NetworkMode": "host"},
        {"IpcMode": "host"},
        {"CapAdd": ["SYS_ADMIN"]},
        {"CapDrop": []},
        {"Binds": ["/b:/in:ro", "/var/run/docker.sock:/s"]},
        {"Binds": ["/b:/in:rw"]},
        {"Devices": [{"PathOnHost": "/dev/mem"}]},
        {"Mounts": [{"Source": "/"}]},
        {"ReadonlyRootfs": False},
    )
    if refusal(good, "/b"):
        return f"the right one: {refusal(good, '/b')}"
    return "refused" if all(refusal(good | one, "/b") for one in bad) else "got through"


def _copied(s: Suite) -> str:
    name, plan = s.plan({"models/train.py": text("constant").encode()}, purpose="candidate")
    planned = Planned(digest=name, plan=plan)
    for index in (0, 1):
        measure(s.running, Replicate(planned=planned, index=index), "feedback", None)
    return "; ".join(s.running.archive.facts().failures[name]) or "got through"


def _blind(s: Suite) -> str:
    """A counter that cannot be read must stop the job, never let it run on."""
    from sandbox.box import cgroup

    real = cgroup.Group.cpu_us
    calls = [0]

    def fails(group: cgroup.Group) -> int:
        calls[0] += 1
        if calls[0] > 3:
            raise OSError("no reading")
        return real(group)

    cgroup.Group.cpu_us = fails  # type: ignore[assignment, method-assign]
    try:
        name, _ = s.plan({"models/train.py": b"import time\ndef main(i, o): time.sleep(4)"})
        result = run(
            s.running.sandbox,
            s.job(name, "train"),
            s.running.archive.facts().grants[name, "train", 0],
        )
    finally:
        cgroup.Group.cpu_us = real  # type: ignore[method-assign]
    if calls[0] == 0:
        return "box: no counter here, the bound is charged"
    return f"{result.status}: {result.detail}"


DOOR: dict[str, Callable[[Suite], str]] = {
    "A01": _swap_bundle,
    "A02": _replay_grant,
    "A03": lambda s: _incidents(s, _signed(s, study="another", config="0" * 64)),
    "A04": lambda s: _incidents(s, _signed(s, issued=1, expires=3601)),
    "A19": _propose(
        (
            '{"hypothesis": "a", "hypothesis": "b", "knobs": {}}',
            '{"hypothesis": "a", "knobs": {"depth": NaN}}',
            '{"hypothesis": "a", "knobs": {"depth": 1e999}}',
            '{"hypothesis": "a", "knobs": {"de\\u0301pth": 3}}',
            '{"hypothesis": "a", "knobs": {"depth": true}}',
            '{"hypothesis": "a", "knobs": {"depth": "3"}}',
        )
    ),
    "A20": _crash,
    "B01": _split_budget,
    "B03": _crash,
    "B04": _amounts,
    "B10": _cut_ledger,
    "B14": _blind,
    "E02": _propose(
        (
            '{"hypothesis": "a", "knobs": {"_target_": "os.system"}}',
            '{"hypothesis": "a", "knobs": {"schedule": "${oc.env:HOME}"}}',
            '{"hypothesis": "a", "_target_": "os.system", "knobs": {}}',
        )
    ),
    "E03": _propose(
        ("!!python/object/apply:os.system ['id']", "defaults: [/etc/passwd]", "a: &x 1")
    ),
    "E11": _copied,
    "S20": _specifications,
    "S24": _no_box,
    **GATE,
    **LEDGER,
    **JUDGED,
}
"""Attacks that no box sees: they are tried at the door itself."""


@contextlib.contextmanager
def suite(make_box: Callable[[], Box]) -> Iterator[Suite]:
    """Open a throw-away study in a fresh box beside the canaries, under a home folder of its
    own.
    """
    box, home = make_box(), os.environ.get("HEIRLOOP_HOME")
    with tempfile.TemporaryDirectory(prefix="hl-attack-") as folder, host() as canaries:
        os.environ["HEIRLOOP_HOME"] = f"{folder}/home"
        try:
            yield Suite(box, Path(folder) / "runs", canaries)
        finally:
            box.close()
            release(folder)
            os.environ.pop("HEIRLOOP_HOME")
            if home is not None:
                os.environ["HEIRLOOP_HOME"] = home


def attack(
    make_box: Callable[[], Box],
    mode: str,
    only: str = "",
    tell: Callable[[dict[str, Any]], object] = id,
) -> list[dict[str, Any]]:
    """Try the catalogue (or one row and its relatives) in a fresh box and study; tell each row as
    it comes, return all.
    """
    chosen = [a for a in ATTACKS if a.id.startswith(only)]
    if not chosen:
        raise BadInput(
            f"--only is {only!r}; it should be one of {', '.join(a.id for a in ATTACKS)}"
        )
    with suite(make_box) as tried:
        rows = []
        for one in chosen:
            rows.append(tried.attempt(one) | {"mode": mode})
            tell(rows[-1])
        return rows
