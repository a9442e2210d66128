"""Where do jobs run? The settings of Hydra groups `box` and `launcher`."""

import re
from dataclasses import dataclass
from typing import Literal

from configs.build import need
from configs.reader import later


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where jobs run."""

    kind: Literal["auto", "namespace", "docker", "planted", "table"] = "auto"
    """auto: namespace where it works, else docker; never none. planted: no box, for task planted
    alone, where nothing runs. table: no box, for a task with a table of recorded trainings
    """
    warm: bool = True
    "keep a process with torch imported inside the box, and fork each job from it"
    parallel: int = 2
    """workers: jobs at a time, each on a core of its own; a composition fills in the machine's
    cores for 0
    """
    image: str = "heirloop-box"
    "docker: name or digest of the image; its digest is pinned in the study root"
    runtime: str = ""
    "docker: a runtime of the engine, runsc for gVisor; empty: the engine's default"
    tier: Literal["", "A", "B", "C"] = ""
    "the lowest tier for this study (docs/threat-model.md); empty: any"
    environment: str = later("")
    """with task program: a virtual environment of people's own, whose packages the jobs get instead
    of the box's, or with box=docker the digest of an image (docs/your-program.md); empty: the box's
    """
    environment_digest: str = later("")
    "digest of its kept copy, or of the image; filled in at composition, then pinned by the study"
    device: Literal["cpu", "cuda"] = later("cpu")
    """cuda: train and predict jobs of task program get the machine's first CUDA device, within
    budget.gpu (docs/your-program.md)
    """

    def __post_init__(self) -> None:
        need(1 <= self.parallel <= 256, "parallel", self.parallel, "0 (the cores), or up to 256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """On which machines the boxes are."""

    kind: Literal["local", "ray"] = "local"
    "local: this machine; ray: the nodes of a Ray cluster, each with a box of its own"
    address: str = ""
    "ray: HOST:PORT of the cluster's head"

    def __post_init__(self) -> None:
        if self.kind == "local":
            need(not self.address, "address", self.address, "empty with launcher=local")
            return
        known = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}:\d{1,5}", self.address, re.ASCII)
        need(bool(known), "address", self.address[:80], "HOST:PORT of the cluster's head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """A mirror of the ledger for people who live in wandb. Never read back."""

    kind: Literal["none", "wandb"] = "none"
    "none, or wandb if it is installed"
    mode: Literal["offline", "online"] = "offline"
    "offline writes files into the run; online needs a login of the trusted side"
