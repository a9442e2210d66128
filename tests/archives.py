"""The archives of the named studies, checked by digest (docs/studies/archives.sha256).

Those of the first edition weigh 64 MB and lie in this repository's history: `path_of` copies one
out of the commit that last held it, once, into build/archives. The smaller ones of the second
edition lie beside their pages.
"""

import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "docs" / "studies"
FOLDER = ROOT / "build" / "archives"
BESIDE = STUDIES
"""Where the small archives lie."""
COMMIT = "7bec4c55eeac6a45dc2fe126c5ed6c1bd48dc0bc"
"""Commit that holds the archives as docs/studies/NAME.tar.xz."""


def digests() -> dict[str, str]:
    """Return the sha256 of each archive by the name of its study."""
    lines = (STUDIES / "archives.sha256").read_text().splitlines()
    rows = (line.split() for line in lines)
    return {name.removesuffix(".tar.xz"): digest for digest, name in rows}


def is_lean(name: str) -> bool:
    """Tell whether an archive lies beside its page: it has no ledgers."""
    return (BESIDE / f"{name}.tar.xz").is_file()


def path_of(name: str) -> Path:
    """Return the path of a study's archive; raise ValueError for other bytes than published."""
    beside_page = BESIDE / f"{name}.tar.xz"
    path = beside_page if beside_page.is_file() else FOLDER / f"{name}.tar.xz"
    if not path.is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        beside.write_bytes(_from_history(name))
        beside.replace(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != digests()[name]:
        raise ValueError(f"{path} is not the published archive of {name}; delete it and try again")
    return path


def _from_history(name: str) -> bytes:
    where = f"{COMMIT}:docs/studies/{name}.tar.xz"
    shown = _git("cat-file", "blob", where)
    if shown.returncode:
        # a shallow clone lacks the commit
        _git("fetch", "--quiet", "--unshallow")
        shown = _git("cat-file", "blob", where)
    if shown.returncode:
        raise FileNotFoundError(
            f"this clone lacks commit {COMMIT[:12]}, which holds {name}.tar.xz; `git fetch"
            " --unshallow` brings it"
        )
    return shown.stdout


def _git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)
