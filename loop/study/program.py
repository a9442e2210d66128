"""A person's own training program: a folder is read once, kept by its digest, and becomes the
bundle of a study.

The folder holds `task.yaml`, train.py, predict.py and a data script. Its list of files is pinned by
the study root; each file is kept in the user's own folder. Begin with `keep_folder`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput
from configs.settings.program import ABOUT, Program
from configs.settings.task import TaskSetup
from loop.plan import ROOT
from sandbox import own
from sandbox.canonical import canonical
from sandbox.foreign import read_file

HARNESS = ROOT / "models" / "program" / "harness.py"
FILE_BYTES, ABOUT_BYTES = 32_000_000, 20_000
"""Most bytes of a file of the folder, and of its task.yaml."""
ANCHOR = re.compile(r"(^|[\s\[{,:])&\S")
"""A name for a value that is used again: a few lines of them may stand for gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder as it was kept."""

    about: Program
    "its task.yaml"
    code: dict[str, str]
    "name -> digest of each file that jobs get"
    data: dict[str, str]
    "name -> digest of the data script and of each file that it reads"


def keep_folder(path: str) -> str:
    """Copy a folder's named files to the user's own folder; return the digest of their list.

    Raises BadInput for a file that is missing, a link, no regular file, or too large.
    """
    about = read_about(path)
    code = {name: own.keep(_read(path, name, FILE_BYTES)) for name in about.code()}
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


def read_kept(pin: str) -> Folder:
    """Return a folder from its kept list; raises VerificationFailed where it was never named."""
    return parse(Folder, strict_json(own.code(pin)))


def bundle_of_program(task: TaskSetup) -> dict[str, bytes]:
    """Return the bundle given by people: their files, and the harness that runs them in a box."""
    folder = read_kept(task.folder_digest)
    places = folder.about.places()
    return {
        "models/__init__.py": HARNESS.read_bytes(),
        "models/program.json": canonical(
            {"files": places, "not_in_predict": folder.about.not_in_predict()}
        ),
        **{places[name]: own.code(pin, FILE_BYTES) for name, pin in folder.code.items()},
    }


def data_bundle(folder: Folder) -> dict[str, bytes]:
    """Return the files of the job that runs the data script, and no file of any other job."""
    places = {name: f"task/{name}" for name in folder.data}
    about: dict[str, Any] = {"files": places, "data": folder.about.data[0]}
    return {
        "models/__init__.py": HARNESS.read_bytes(),
        "models/program.json": canonical(about),
        **{places[name]: own.code(pin, FILE_BYTES) for name, pin in folder.data.items()},
    }


def _read(folder: str, name: str, most: int) -> bytes:
    try:
        return read_file(Path(folder) / name, most)
    except OSError as error:
        reason = error.strerror or "no reason given"
        raise BadInput(
            f"task.folder is {folder!r}; its {name} cannot be read ({reason}); it should be a file"
            f" of at most {most} bytes"
        ) from None
