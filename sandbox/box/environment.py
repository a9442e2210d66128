"""A virtual environment of people's own, as a read-only copy that is named by its digest.

Nothing of it runs outside a box, not even its interpreter: jobs use the box's own Python with the
packages of the copy. Refused are links that lead out, devices, setuid bits, another version of
Python, and folders that lie in or around what must stay ours. Files that Python would run by itself
(.pth, sitecustomize, usercustomize) are not copied. Begin with `keep`.
"""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from configs.errors import BadInput, VerificationFailed
from sandbox import keys

MOST_FILES, MOST_BYTES = 200_000, 20_000_000_000
"""Most files and bytes of an environment."""
STARTS = re.compile(r"[^/]*\.pth|(site|user)customize(\.py|/.*)?")
"""Paths below the packages that Python runs by itself at its start."""
PART = 1 << 20


def keep(path: str, version: str, ours: Sequence[Path]) -> str:
    """Copy the packages of a virtual environment to the user's folder, once; return their digest.

    `version` is the box's, such as python3.11; `ours` may not lie in the environment, nor around
    it. Raises BadInput.
    """
    place = Path(path).resolve()
    for own in (form for one in ours for form in (one.absolute(), one.resolve())):
        if place == own or place in own.parents or own in place.parents:
            raise BadInput(
                f"box.environment is {path!r}; it should be apart from {own}, which no job may see"
            )
    if not (place / "pyvenv.cfg").is_file():
        raise BadInput(
            f"box.environment is {path!r}; it should be the folder of a virtual environment"
        )
    site = place / "lib" / version / "site-packages"
    if not site.is_dir():
        raise BadInput(f"box.environment is {path!r}; it should be one of {version}, as the box is")
    name = _digest(site)
    copy = find(name)
    if not copy.is_dir():
        _copy(site, copy)
    return name


def find(name: str) -> Path:
    """Return where the copy of a digest lies."""
    return keys.home() / "environments" / name


def open_copy(name: str) -> Path:
    """Return the copy of a digest; raise VerificationFailed unless its bytes are still the same."""
    copy = find(name)
    if not copy.is_dir():
        raise VerificationFailed(
            f"the environment {name[:12]} was never named here; name it in box.environment"
        )
    try:
        found = _digest(copy)
    except BadInput as error:
        found = str(error)
    if found != name:
        raise VerificationFailed(
            f"the kept copy of the environment {name[:12]} was changed; remove {copy} and name the"
            " environment again"
        )
    return copy


def list_packages(name: str) -> set[str]:
    """Return the names at the top of a copy, without endings: what a job could import."""
    return {entry.name.partition(".")[0] for entry in os.scandir(find(name))}


def _digest(site: Path) -> str:
    """Return the digest of every path, its kind, and its bytes or target."""
    whole = hashlib.sha256()
    for name, kind in _walk(site):
        if kind == "link":
            value = os.readlink(site / name)
        elif kind == "file":
            with open(site / name, "rb") as file:
                value = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            value = ""
        whole.update(f"{kind} {name!r} {value!r}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def _walk(site: Path) -> Iterator[tuple[str, str]]:
    """Yield (path, folder, file or link) of what is copied, in order; refuse the rest."""
    count = size = 0
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in sorted(os.scandir(site / folder), key=lambda one: one.name):
            name = f"{folder}{entry.name}"
            if entry.name == "__pycache__" or STARTS.fullmatch(name):
                continue
            facts = entry.stat(follow_symlinks=False)
            count, size = count + 1, size + facts.st_size
            if count > MOST_FILES or size > MOST_BYTES:
                raise BadInput(
                    f"box.environment has more than {MOST_FILES} files or {MOST_BYTES} bytes"
                )
            kind = _kind(site, name, facts.st_mode)
            if kind == "folder":
                waiting.append(f"{name}/")
            yield name, kind


def _kind(site: Path, name: str, mode: int) -> str:
    """Return the kind of an entry; raise BadInput for one that no copy may hold."""
    if stat.S_ISDIR(mode):
        return "folder"
    wrong = ""
    if stat.S_ISLNK(mode):
        target = os.readlink(site / name)
        inside = os.path.normpath(os.path.join(os.path.dirname(name), target))
        if os.path.isabs(target) or inside.split("/")[0] == "..":
            wrong = "is a link that leads out of it"
    elif not stat.S_ISREG(mode):
        wrong = "is neither a file nor a folder"
    elif mode & (stat.S_ISUID | stat.S_ISGID):
        wrong = "has a setuid or setgid bit"
    if wrong:
        raise BadInput(f"{name} of box.environment {wrong}; remove it")
    return "link" if stat.S_ISLNK(mode) else "file"


def _copy(site: Path, copy: Path) -> None:
    """Make the copy beside its place, read-only, then move it there."""
    copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = copy.with_suffix(f".{os.getpid()}")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    folders = [made]
    for name, kind in _walk(site):
        target = made / name
        if kind == "folder":
            target.mkdir()
            folders.append(target)
        elif kind == "link":
            target.symlink_to(os.readlink(site / name))
        else:
            with open(site / name, "rb") as source, open(target, "xb") as file:
                shutil.copyfileobj(source, file, PART)
            target.chmod(0o444)
    for folder in reversed(folders):
        folder.chmod(0o555)
    if _digest(made) != copy.name:
        raise BadInput("box.environment changed while it was copied; name it again")
    made.rename(copy)
