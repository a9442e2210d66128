"""The folder of a person's own training program: read once, and kept by the digest of its files.

It holds `task.yaml`, train.py, predict.py and a data script. Its list of files is pinned by the
study root; each file is kept in the user's own folder. Begin with `keep_folder`.
"""

import re
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from configs.build import need, parse, plain
from configs.errors import BadInput
from configs.settings.program import ABOUT, Program
from loop.study.program import FILE_BYTES
from sandbox import own
from sandbox.canonical import canonical
from sandbox.foreign import read_file

ABOUT_BYTES = 20_000
"""Most bytes of a task.yaml."""
ANCHOR = re.compile(r"(^|[\s\[{,:])&\S")
"""A name for a value that is used again: a few lines of them may stand for gigabytes."""


def keep_folder(path: str) -> str:
    """Copy a folder's named files to the user's own folder; return the digest of their list.

    Raises BadInput for a file that is missing, a link, no regular file, or too large, and for a
    region that is not marked as task.yaml says.
    """
    about = read_about(path)
    sources = {name: _read(path, name, FILE_BYTES) for name in about.code()}
    for name in about.changing():
        about.need_regions(name, sources[name])
    code = {name: own.keep(source) for name, source in sources.items()}
    data = {name: own.keep(_read(path, name, FILE_BYTES)) for name in about.data}
    return own.keep(canonical({"about": plain(about), "code": code, "data": data}))


def read_about(path: str) -> Program:
    """Return the task.yaml of a folder; raise BadInput with the name of a wrong field."""
    data = _read(path, ABOUT, ABOUT_BYTES)
    try:
        text = data.decode()
        need(not ANCHOR.search(text), ABOUT, "an anchor (&)", "every value written out")
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException, RecursionError, ValueError) as error:
        lines = " ".join(str(error).split())
        raise BadInput(f"{ABOUT} of task.folder is no YAML: {lines[:200]}") from None
    need(isinstance(values, dict), ABOUT, type(values).__name__, "settings, one a line")
    return parse(Program, values, ABOUT)


def _read(folder: str, name: str, most: int) -> bytes:
    try:
        return read_file(Path(folder) / name, most)
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise BadInput(
            f"task.folder is {folder!r}; its {name} cannot be read ({reason}); it should be a file"
            f" of at most {most} bytes"
        ) from None
