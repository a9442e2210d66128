"""The attacked study: a throw-away study with small limits in a real box, beside the canaries.

Attacks run through the same entry as every other job. Nothing here can switch a defence off.
"""

import contextlib
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save

from configs.build import plain
from configs.entries import ChampionEntry, DataEntry, PlanEntry
from configs.job import Order
from configs.records import Grant, Input, Job, JobResult, PlanRole, Proposal, find_class
from evals.data import draw_train
from loop.attack.attended import AttendedStudy, replace_settings
from loop.attack.host import Host, open_host
from loop.plan import Draft, Planned, make_plan, source
from loop.settings import compose_settings
from loop.study.open import open_study, release_locks
from sandbox import keys
from sandbox.box.base import Box
from sandbox.canonical import digest
from sandbox.run import run
from sandbox.unsigned import new_mandate

JOB_LIMITS = {
    "cpu_us": 2_000_000,
    "wall_us": 10_000_000,
    "memory_bytes": 200_000_000,
    "processes": 40,
    "disk_bytes": 8_000_000,
    "output_bytes": 4_000_000,
}

DESCRIPTORS = 1 << 14
"""Descriptors that a suite may need: the studies that attacks open stay open until its end, and a
shell grants 1,024."""
PATIENT_US = 300_000_000
"""Wall limit after a job was starved."""

SETTINGS = (
    "task=addition",
    "study.name=attack",
    "study.most_changes=0",
    "autonomy=autonomous",
    "gates=unattended",
    "gates.unattended.classes=[recipe,patch,structural,proposer,promote]",
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
    *(f"budget.train.{name}={value}" for name, value in JOB_LIMITS.items()),
    *(f"budget.predict.{name}={value}" for name, value in JOB_LIMITS.items()),
)
"""Settings with small limits, the same for every attack."""

OWN_GROUPS = ("gates", "autonomy", "study.name")
"""Settings chosen by a study with people itself."""

AT_IMPORT = "main(Path('/in'), Path('/out'))\nraise SystemExit(0)"
"""The end of a hostile net: it runs while a predict job imports it."""

IDLE = b"def main(i, o): pass"
"""An idle train.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedJob:
    """A job with its grant."""

    job: Job
    grant: Grant


class Suite:
    """The attacked study."""

    def __init__(self, box: Box, folder: Path, canaries: Host, *changes: str) -> None:
        self.box, self.host, self._folder = box, canaries, folder
        config = compose_settings([*replace_settings(SETTINGS, *changes), f"runs={folder}"])
        caps = config.gates.unattended
        assert caps is not None
        key = Ed25519PrivateKey.generate()
        mandate = new_mandate(config, caps, "unattended", "attack", keys.public_hex(key))
        mandates = keys.home() / "mandates"
        mandates.mkdir(parents=True, exist_ok=True)
        (mandates / f"{config.study.name}-1.json").write_bytes(
            keys.sign(plain(mandate), key, "mandate")
        )
        self.running = open_study(config, box)
        self.count = 0
        self.baseline = self._record_baseline()
        self.attended: list[AttendedStudy] = []
        """Studies opened by the present attack."""
        self._patient: Suite | None = None

    def give_time(self) -> "Suite":
        """Return the same study with a long wall limit, for a machine that starves jobs."""
        if self._patient is None:
            limits = [f"budget.{role}.wall_us={PATIENT_US}" for role in ("train", "predict")]
            self._patient = Suite(self.box, self._folder, self.host, "study.name=patient", *limits)
        return self._patient

    def open_other(self) -> "Suite":
        """Return another attacked study beside this one."""
        return Suite(self.box, self._folder, self.host, f"study.name=other{os.urandom(6).hex()}")

    def open_attended(self, *changes: str, **options: Any) -> AttendedStudy:
        """Open a study of its own where people hold the gates; `changes` replace its settings."""
        own = (
            "gates=attended",
            "autonomy=assisted",
            f"study.name=attended{os.urandom(6).hex()}",
            "study.arms=[local]",
            f"runs={self.running.config.runs}",
        )
        limits = [line for line in SETTINGS if not line.startswith(OWN_GROUPS)]
        settings = tuple(replace_settings((*limits, *own), *changes))
        self.attended.append(AttendedStudy(settings, self.box, **options))
        return self.attended[-1]

    def plan(self, files: dict[str, bytes]) -> Planned:
        """Record and grant a candidate whose bundle holds these files besides the sources."""
        self.count += 1
        recipe, store = self.running.config.task.baseline, self.running.sandbox.store
        draft = Draft(
            generation=1,
            index=self.count,
            purpose="candidate",
            parent=self.baseline,
            change_class=find_class(source(), source() | files),
            recipe=recipe,
            bundle=store.put_bundle(source() | files),
            reference=(store.put_bundle(source()), recipe),
            proposal=Proposal(hypothesis="an attack", knobs={}),
        )
        return self._record(draft)

    def _record_baseline(self) -> str:
        """Record and grant the baseline, the parent of every attack; return its digest."""
        draft = Draft(
            generation=0,
            index=0,
            purpose="baseline",
            recipe=self.running.config.task.baseline,
            bundle=self.running.sandbox.store.put_bundle(source()),
            proposal=Proposal(hypothesis="the parent of every attack", knobs={}),
        )
        name, arm = self._record(draft).digest, self.running.config.arms()[0]
        self.running.ledger.append(ChampionEntry(arm=arm, repeat=0, plan=name, generation=0))
        return name

    def _record(self, draft: Draft) -> Planned:
        running, arm = self.running, self.running.config.arms()[0]
        plan = make_plan(running.config, draft, study=running.root, version=1, arm=arm, repeat=0)
        planned = Planned(digest=digest(plan), plan=plan)
        running.ledger.append(PlanEntry(digest=planned.digest, plan=plan))
        running.gate.grant(planned.digest)
        return planned

    def prepare(self, files: dict[str, bytes], role: PlanRole = "train") -> GrantedJob:
        """Return a granted job of a new plan with these files."""
        planned = self.plan(files)
        grant = self.running.gate.next_grant(planned.digest, role, 0)
        return GrantedJob(job=self._make_job(planned, role), grant=grant)

    def run(self, granted: GrantedJob) -> JobResult:
        """Run a granted job in the box."""
        return run(self.running.sandbox, granted.job, granted.grant)

    def send(self, program: str, role: PlanRole) -> JobResult:
        """Run a hostile program as a job of this role."""
        text = self.host.fill_in(program, Path(self.running.config.runs))
        if role == "predict":
            # No class covers predict.py; a net that it imports is the way to run there.
            text = f"{source()['models/net.py'].decode()}\n{text}\n{AT_IMPORT}"
        file = "models/net.py" if role == "predict" else f"models/{role}.py"
        return self.run(self.prepare({file: text.encode()}, role))

    def _make_job(self, planned: Planned, role: str) -> Job:
        running = self.running
        task = running.config.task.format()
        tensors = {
            "items": draw_train(task, running.items.of(0).secret, 1),
            "questions": draw_train(task, running.items.of(0).secret, 2)[:10],
        }
        blob = running.sandbox.store.put(save(tensors))
        entry = running.ledger.append(DataEntry(plan=planned.digest, index=0, digest=blob))
        budget = running.config.budget
        return Job(
            plan=planned.digest,
            role=role,  # type: ignore[arg-type]
            index=0,
            bundle=planned.plan.bundle,
            order=Order(
                role=role,  # type: ignore[arg-type]
                task=task,
                recipe=planned.plan.recipe,
                seed=self.count,
                steps=planned.plan.steps,
            ),
            inputs=(Input(name="data.safetensors", digest=blob, sequence=entry.sequence),),
            limits=budget.train if role == "train" else budget.predict,
        )


def _raise_descriptors() -> None:
    """Allow this process DESCRIPTORS, or as many as it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


@contextlib.contextmanager
def open_suite(make_box: Callable[[], Box]) -> Iterator[Suite]:
    """Open the attacked study in a fresh box, under a home folder of its own."""
    _raise_descriptors()
    box, home = make_box(), os.environ.get("HEIRLOOP_HOME")
    with tempfile.TemporaryDirectory(prefix="hl-attack-") as folder, open_host() as canaries:
        os.environ["HEIRLOOP_HOME"] = f"{folder}/home"
        try:
            yield Suite(box, Path(folder) / "runs", canaries)
        finally:
            box.close()
            release_locks(folder)
            os.environ.pop("HEIRLOOP_HOME")
            if home is not None:
                os.environ["HEIRLOOP_HOME"] = home
