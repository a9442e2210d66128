"""Open a study or go on with it: ledger, secret, store, box and gate, tied together by the study
root.
"""

import json
import platform
import time
from collections.abc import Mapping

from configs.build import strict_json
from configs.errors import BadInput, NoBox
from configs.settings.config import Config
from loop.plan import ROOT
from loop.study import simulated
from sandbox import keys
from sandbox.box.base import Box


def make_box(config: Config) -> Box:
    """Return the box that the configuration names; `auto` is the namespace box, else Docker. Raises
    NoBox, with both reasons.

    A box below the tier that the study demands is refused with the remedy.
    """
    box = _box(config)
    if config.box.tier and box.tier > config.box.tier:
        box.close()
        remedy = {
            "A": (
                "install gVisor, name it in the engine's daemon.json and set box=docker"
                " box.runtime=runsc"
            ),
            "B": (
                "run as root, or have a control group delegated (`systemd-run --user --scope -p"
                " Delegate=yes`)"
            ),
            "C": "name a task that is trained, which a simulated one is not",
        }[config.box.tier]
        raise NoBox(
            f"the study demands tier {config.box.tier} and the {box.kind} box here is tier"
            f" {box.tier}; {remedy}"
        )
    return box


def _box(config: Config) -> Box:
    if simulated.simulated(config):
        return simulated.Planted(config)
    from sandbox.box.docker import DockerBox
    from sandbox.box.namespace import NamespaceBox

    def docker() -> Box:
        return DockerBox(config.box.image, runtime=config.box.runtime, warm=config.box.warm)

    if config.box.kind == "docker":
        return docker()
    try:
        box = NamespaceBox(ROOT / ".box", warm=config.box.warm)
        box.prove()
        return box
    except NoBox as error:
        if config.box.kind == "namespace":
            raise
        try:
            return docker()
        except NoBox as other:
            raise NoBox(f"{error}; and {other}") from None


def remember(tiers: Mapping[str, str]) -> None:
    """Keep what was proved, so that the next study root can say so."""
    keys.home().mkdir(parents=True, exist_ok=True)
    known = {
        "machine": _machine(),
        "day": time.strftime("%Y-%m-%d", time.gmtime()),
        "tiers": dict(tiers),
    }
    (keys.home() / "doctor.json").write_text(json.dumps(known))


def proved(box: Box) -> str:
    """Return the day on which the doctor proved this box's tier on this machine, or an empty
    string.
    """
    try:
        known = strict_json((keys.home() / "doctor.json").read_bytes())
        return (
            str(known["day"])
            if (known["machine"], known["tiers"].get(box.kind)) == (_machine(), box.tier)
            else ""
        )
    except (OSError, BadInput, KeyError, AttributeError):
        return ""


def _machine() -> str:
    return " ".join(
        (platform.node(), platform.release(), platform.machine(), platform.python_version())
    )
