"""The recorded run with orders from outside. It runs on the code of tag v1 alone."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from acts import (
    PAIRS,
    PASSPHRASE,
    SMALL,
    Fake,
    bodies,
    decide,
    export,
    heirloop,
    in_box,
    key,
    mandate,
    refused,
    run,
    waiting,
)
from stub_model import send, stub

from configs.job import Outcome
from loop.people import open_gate
from loop.terminal import who
from sandbox import control
from sandbox.box.base import Execution


def orders() -> None:
    """Run under a person's mandate, with orders, an amendment, deployments, incidents, notices."""
    key("ada")
    key("eve", "external")
    shape = ("study.arms=[scripted]", "study.proposals=1", "study.generations=3")
    script = "+proposer.script=[{depth: 3},{depth: 3, width: 96},{width: 96, batch_size: 128}]"
    gates = ("gates=attended", "gates.counterparty=eve", "gates.tripwires.accepted_per_hour=1")
    settings = (*SMALL, *PAIRS, "study.name=orders", *shape, script, *gates, "box.parallel=1")
    folder = "runs/orders"
    mandate("ada", *settings)
    ordered = _Orders(folder)
    run(Fake(ordered), *settings)
    _resume(folder)
    key("dan")
    amended = "budget.jobs=300"
    heirloop("amend", folder, amended, "--reviewers", "--why", "fewer jobs, one more reviewer")
    name = bodies(folder, "amendment")[0]["digest"]
    decide(folder, "approve", "ada", name, "amend")
    heirloop("amend", folder, "--apply", name)
    mandate("ada", *settings, amended)
    while run(Fake(ordered), *settings) is not None:
        _resume(folder)
        if len(bodies(folder, "champion")) == 2:
            _deploy(folder)
    assert ordered.done == ["drill", "slow", "pause", "STOP"], ordered.done
    _deploy(folder)
    _after(folder)
    _tell(folder)
    export("csv", folder)


class _Orders:
    """Orders to a run, each given while a certain job runs."""

    def __init__(self, folder: str) -> None:
        self.folder, self.jobs = folder, 0
        self.done: list[str] = []
        self.acts: dict[int, Callable[[], None]] = {
            3: self.drill,
            6: self.slow,
            9: self.pause,
            15: self.stop,
        }

    def __call__(self, execution: Execution) -> Outcome | None:
        self.jobs += 1
        if self.jobs in self.acts:
            self.acts[self.jobs]()
        return None

    def drill(self) -> None:
        """Drill in a thread, for it waits until this very job has ended."""
        thread = threading.Thread(target=control.drill, args=(Path(self.folder), who()))
        thread.start()
        while open_gate(Path(self.folder)).halt != "drill":
            time.sleep(0.01)
        self.done.append("drill")

    def slow(self) -> None:
        heirloop("slow", self.folder, "1000", "--why", "no hurry")
        self.done.append("slow")

    def pause(self) -> None:
        heirloop("pause", self.folder, "--why", "lunch")
        self.done.append("pause")

    def stop(self) -> None:
        """Write the file STOP and wait until the loop has read it."""
        (Path(self.folder) / "STOP").write_text("a person wrote this file")
        while open_gate(Path(self.folder)).halt != "stop":
            time.sleep(0.01)
        self.done.append("STOP")


def _resume(folder: str) -> None:
    """Stop a held run by the verb once more, and let it go on by a signed decision."""
    heirloop("stop", folder, "--why", "to be sure")
    with refused("--as resume"):
        heirloop("resume", folder)
    decide(folder, "approve", "ada", waiting(folder)[-1][0], "resume")
    heirloop("resume", folder)


def _deploy(folder: str) -> None:
    """Deploy the champion by a signed decision."""
    with refused("--as deploy"):
        heirloop("deploy", folder)
    decide(folder, "approve", "ada", bodies(folder, "champion")[-1]["plan"], "deploy")
    heirloop("deploy", folder)


def _after(folder: str) -> None:
    """Roll back, open sealed, train again, recall the champion, amend an incident."""
    first, last = (body["plan"] for body in bodies(folder, "deploy"))
    decide(folder, "approve", "ada", first, "deploy")
    heirloop("rollback", folder)
    with in_box(Fake()), refused("unseal"):
        heirloop("unseal", folder)
    decide(folder, "approve", "dan", waiting(folder)[-1][0], "unseal")
    with in_box(Fake()):
        heirloop("unseal", folder)
    with in_box(Fake()):
        heirloop("replay", folder, last)
    heirloop("recall", folder, last, "--why", "it reads its own answers")
    heirloop("incident", "report", folder, "smoke in the machine room", "--severity", "high")
    name = bodies(folder, "incident")[-1]["id"]
    changes = ("root_cause=a fan that stood still", "harm_actual=other", "internal_use=true")
    heirloop("incident", "amend", folder, name, *changes)
    heirloop("compute", folder)


def _tell(folder: str) -> None:
    """Send what is due to receivers of which one fails once; let one acknowledge."""
    with stub(send(b"", 503), send(b"{}")) as server:
        for name in ("ada", "eve"):
            heirloop("keys", "address", name, server.url.replace("http://", "json://"))
        heirloop("notify", folder)
    notice = next(b for b in bodies(folder, "notice") if b["ok"] and b["to"] == "eve")
    typed = f"{PASSPHRASE}\n"
    heirloop("acknowledge", notice["digest"], "--run", folder, "--key", "eve", typed=typed)
