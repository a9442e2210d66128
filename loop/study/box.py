"""Choose the box of a study: BOXES names every kind, and the tier proved by the doctor.

Begin with `make_real_box`; launch.py chooses for a study. There is no run without a box.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from configs.build import need, strict_json
from configs.errors import BadInput, NoBox
from configs.settings.box import Box as Settings
from configs.settings.config import Config
from loop.plan import ROOT, source
from loop.study.simulated import SimulatedBox, boxes_proposers
from loop.study.tabulated import TabulatedBox
from sandbox import keys
from sandbox.box.base import Box
from sandbox.box.gpu import find_device
from sandbox.box.tcp import explain_absence
from sandbox.files import replace_file

if TYPE_CHECKING:
    from sandbox.box.docker import DockerBox

REMEDIES = {
    "A": "install gVisor, name it in the engine's daemon.json and set box=docker box.runtime=runsc",
    "B": "run as root, or have a control group delegated (`systemd-run --user --scope -p"
    " Delegate=yes`)",
    "C": "name a task that is trained, which a simulated one is not",
}
"""Demanded tier -> remedy for a weaker box here."""


def make_real_box(settings: Settings) -> Box:
    """Return a box that executes jobs. Raises NoBox with the remedy, BadInput for another kind."""
    need(settings.kind in BOXES, "box.kind", settings.kind, f"one of {', '.join(BOXES)}")
    if settings.device == "cuda":
        find_device()  # nothing runs on the CPU instead
    return demand_tier(BOXES[settings.kind](settings), settings)


def demand_tier(box: Box, settings: Settings) -> Box:
    """Return a box, or raise NoBox where it is below the demanded tier."""
    if settings.tier and box.tier > settings.tier:
        box.close()
        raise NoBox(
            f"the study demands tier {settings.tier} and the {box.kind} box here is tier"
            f" {box.tier}; {REMEDIES[settings.tier]}"
        )
    return box


def _make_docker(settings: Settings) -> "DockerBox":
    from sandbox.box.docker import DockerBox  # loads the Docker SDK

    own, image = bool(settings.environment), settings.environment or settings.image
    return DockerBox(image, runtime=settings.runtime, warm=settings.warm, own=own)


def _make_namespace(settings: Settings) -> Box:
    from sandbox.box.namespace import NamespaceBox  # needs Linux and bubblewrap

    own = settings.environment_digest
    box = NamespaceBox(ROOT / ".box", warm=settings.warm, environment=own, shipped=source())
    box.prove()
    return box


def _make_first_that_works(settings: Settings) -> Box:
    try:
        return _make_namespace(settings)
    except NoBox as error:
        if settings.environment:
            raise
        try:
            box = _make_docker(settings)
        except NoBox as other:
            raise NoBox(f"{error}; and {other}") from None
        box.fell_back = str(error)
        return box


def _make_tabulated(config: Config) -> Box:
    """Return the box of a table, with a real box inside where weights or programs propose."""
    return TabulatedBox(
        config, _make_first_that_works(config.box) if boxes_proposers(config) else None
    )


BOXES: dict[str, Callable[[Settings], Box]] = {
    "auto": _make_first_that_works,
    "docker": _make_docker,
    "namespace": _make_namespace,
}
"""Value of box.kind -> how its box is made."""
SIMULATED: dict[str, Callable[[Config], Box]] = {
    "planted": SimulatedBox,
    "table": _make_tabulated,
}
"""Value of box.kind -> how a box is made that computes nothing, but for proposals."""


def describe_fall_back(reason: str) -> str:
    """Return a line on a box that box=auto had to take."""
    return f"box=auto took the Docker box, which costs more: {reason}"


def explain_missing_tcp(config: Config) -> str:
    """Return why this machine's kernel gives agents no TCP port to the door `model`, or nothing."""
    asks = any(config.proposer.door_calls(arm) for arm in config.arms())
    return explain_absence() if asks else ""


def remember_tiers(tiers: Mapping[str, str]) -> str:
    """Keep the tiers proved by the doctor, for the next study root.

    Returns a sentence where the user's folder cannot be written, or nothing.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime())
    proof = {"machine": _machine(), "day": day, "tiers": dict(tiers)}
    try:
        keys.home().mkdir(parents=True, exist_ok=True)
        replace_file(keys.home() / "doctor.json", json.dumps(proof))
    except OSError as error:
        return f"the proof is not kept for studies: {error}; HEIRLOOP_HOME names another folder"
    return ""


def day_proved(box: Box) -> str:
    """Return the day of the doctor's proof of this box's tier on this machine, or nothing."""
    try:
        proof = strict_json((keys.home() / "doctor.json").read_bytes())
        same = (proof["machine"], proof["tiers"].get(box.kind)) == (_machine(), box.tier)
        return str(proof["day"]) if same else ""
    except (OSError, BadInput, KeyError, AttributeError):
        return ""


def _machine() -> str:
    parts = (platform.node(), platform.release(), platform.machine(), platform.python_version())
    return " ".join(parts)
