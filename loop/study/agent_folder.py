"""The folder of a person's own agent: read once, and kept by the digest of the list of its files.

It holds `__main__.py` and the files beside it: Python, JSON, text. In a bundle they lie below
`agent/`, each shown at the gate under its own name. Begin with `keep_agent`.
"""

import os
from pathlib import Path

from configs.build import need, strict_json
from configs.errors import BadInput
from configs.settings.proposer import Proposer
from sandbox import own
from sandbox.canonical import canonical
from sandbox.foreign import read_file
from sandbox.store import NAME, Store

MOST_FILES, MOST_BYTES = 50, 1_000_000
"""Most files of a folder, and most bytes of all together."""
MAIN = "agent/__main__.py"
"""The file that runs."""
CACHE = "__pycache__"
"""A folder that Python writes; it is left out."""


def keep_agent(path: str) -> str:
    """Copy a folder's files to the user's own folder; return the digest of their list.

    Raises BadInput for a folder without `__main__.py`, for a link, a folder in it, a file of
    another name or form, and for too many or too much.
    """
    names = _list_names(path)
    left, kept = MOST_BYTES, dict[str, str]()
    for name in names:
        try:
            data = read_file(Path(path) / name, left)
            data.decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8"
            raise BadInput(
                f"proposer.folder is {path!r}; its {name!r} cannot be read ({reason}); it should be"
                f" text, and all files together at most {MOST_BYTES} bytes"
            ) from None
        left -= len(data)
        kept[f"agent/{name}"] = own.keep(data)
    return own.keep(canonical(kept))


def _list_names(path: str) -> list[str]:
    try:
        with os.scandir(path) as places:
            names = sorted(one.name for one, _ in zip(places, range(MOST_FILES + 2), strict=False))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(
            f"proposer.folder is {path!r}; it cannot be read ({reason}); it should be a folder with"
            " a __main__.py"
        ) from None
    names = [name for name in names if name != CACHE]
    need(len(names) <= MOST_FILES, "proposer.folder", path, f"at most {MOST_FILES} files")
    for name in names:
        right = "small letters, digits and _, and .py, .json, .txt or .md"
        need(bool(NAME.fullmatch(f"agent/{name}")), "a name in proposer.folder", name, right)
    need(MAIN.removeprefix("agent/") in names, "proposer.folder", path, "a __main__.py in it")
    return names


def list_kept(pin: str) -> dict[str, str]:
    """Return file of a bundle -> digest, of a kept folder; raises VerificationFailed without it."""
    return dict(strict_json(own.code(pin)))


def program_files(settings: Proposer, store: Store) -> dict[str, bytes]:
    """Return people's own program as the files of a bundle; `load` put it into the store."""
    if settings.folder_digest:
        return store.get_bundle(settings.folder_digest)
    return {"program": store.get(settings.program_digest or settings.file_digest)}
