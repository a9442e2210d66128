"""Ask the box environment's Python for the files that it needs: it knows, and we would guess.

Example: a Python of pyenv needs `~/.pyenv/versions/3.13.0/lib/libpython3.13.so.1.0`, which the
system's loader does not know. `ask` returns every such library under the name that it is looked up
by. The question runs outside the box, so it imports the standard library and nothing else.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from configs.errors import NoBox

QUESTION = """
import ctypes, json, os, sys, sysconfig
stdlib = sysconfig.get_path("stdlib")
modules = os.path.join(stdlib, "lib-dynload")
names = sorted(os.listdir(modules)) if os.path.isdir(modules) else []
paths = [os.path.join(modules, name) for name in names]
# wheels of compiled packages take these three from outside
for path in [*paths, "libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1"]:
    try:
        ctypes.CDLL(path)
    except OSError:
        pass
class Info(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)
loaded = []
visit = kind(lambda info, size, data: loaded.append(os.fsdecode(info.contents.name or b"")) or 0)
ctypes.CDLL(None).dl_iterate_phdr(visit, None)
libraries = [path for path in loaded if os.path.isfile(path) and path not in paths]
print(json.dumps({
    "executable": os.path.realpath(sys.executable), "stdlib": stdlib, "folder": sys.platlibdir,
    "libraries": libraries,
}))
"""
SECONDS = 60
"""Longest wait for the answer, on a machine that is very busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python for jobs, and the places of its files on this machine."""

    executable: str
    "the binary, without links"
    stdlib: str
    "folder of its standard library"
    folder: str
    "lib, or lib64: where it looks for its standard library below its prefix"
    site: str
    "folder of the box environment's packages"
    libraries: dict[str, str]
    "name that the loader looks for -> file; without those of the system's folders"
    bare: bool = False
    "whether the packages are people's own, which only a confined job imports"


def ask(box_env: Path, system: list[str]) -> Interpreter:
    """Return the interpreter of a box environment; `system` are folders that each box has.

    Raises NoBox if it does not start or has no packages.
    """
    python = box_env / "bin" / "python"
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-c", QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            env=loader_settings(),
            check=False,
        )
        answer = json.loads(done.stdout or b"null")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise NoBox(f"{python} does not start ({error}); {_REMEDY}") from None
    if done.returncode != 0 or not isinstance(answer, dict):
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoBox(f"{python} does not start ({(lines or ['no word'])[-1][:160]}); {_REMEDY}")
    site = box_env / "lib" / Path(answer["stdlib"]).name / "site-packages"
    if not site.is_dir():
        raise NoBox(f"there is no {site}, and {python} is of that version; {_REMEDY}")
    outside = [path for path in answer.pop("libraries") if not _is_in(path, system)]
    libraries = {Path(path).name: os.path.realpath(path) for path in outside}
    return Interpreter(**answer, site=str(site), libraries=libraries)


def loader_settings() -> dict[str, str]:
    """Return the environment of a Python on the trusted side: the loader's path and no more."""
    path = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": path} if path else {}


def _is_in(path: str, folders: list[str]) -> bool:
    """Tell whether a library and the file behind its links lie in one of the folders."""
    places = (os.path.dirname(path), os.path.realpath(path))
    return all(
        any(f"{os.path.realpath(place)}/".startswith(f"{folder}/") for folder in folders)
        for place in places
    )


_REMEDY = "remove it and run `make setup` again"
