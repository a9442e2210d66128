"""What a container may not have: held against the engine's own description before its start."""

from collections.abc import Mapping, Sequence
from typing import Any

DEVICE = [
    {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": ["0"],
        "Capabilities": [["gpu", "compute"]],
        "Options": {},
    }
]
"""The engine's words for `--gpus device=0`: the first CUDA device, and nothing else of the host."""
MUST_BE_EMPTY = (
    "CapAdd",
    "Devices",
    "Mounts",
    "VolumesFrom",
    "PortBindings",
    "Links",
    "GroupAdd",
    "DeviceCgroupRules",
)


def find_unsafe_setting(
    host: dict[str, Any],
    folder: str,
    devices: Sequence[Mapping[str, Any]] = (),
    more: Mapping[str, str] | None = None,
) -> str:
    """Return the first unsafe setting of a container, or an empty string.

    Unsafe are privileges, namespaces of the host, every mount but `folder` and `more` (path here ->
    place inside, read-only), and every request of a device but `devices`.
    """
    if list(host.get("DeviceRequests") or ()) != list(devices):
        return f"DeviceRequests is {host.get('DeviceRequests')!r}"
    binds = [f"{path}:{place}:ro" for path, place in {folder: "/in", **(more or {})}.items()]
    right = {
        "Privileged": False,
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "CapDrop": ["ALL"],
        "Binds": binds,
    }
    for name, value in right.items():
        if host.get(name) != value:
            return f"{name} is {host.get(name)!r}"
    for name in MUST_BE_EMPTY:
        if host.get(name):
            return f"{name} is {host[name]!r}"
    if host.get("IpcMode") not in ("private", "none"):
        return f"IpcMode is {host.get('IpcMode')!r}"
    return ""
