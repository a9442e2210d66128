"""A person's own training program as the bundle of a study: the files of a kept folder (folder.py),
and the harness that runs them in a box, or an agent that changes them.
"""

from dataclasses import dataclass
from typing import Any

from configs.build import parse, strict_json
from configs.settings.program import Program
from configs.settings.task import TaskSetup
from loop.plan import ROOT
from sandbox import own
from sandbox.canonical import canonical

HARNESS = ROOT / "models" / "program" / "harness.py"
AGENT = ROOT / "models" / "agent.py"
FILE_BYTES = 32_000_000
"""Most bytes of a file of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder as it was kept."""

    about: Program
    "its task.yaml"
    code: dict[str, str]
    "name -> digest of each file that jobs get"
    data: dict[str, str]
    "name -> digest of the data script and of each file that it reads"


def read_kept(pin: str) -> Folder:
    """Return a folder from its kept list; raises VerificationFailed where it was never named."""
    return parse(Folder, strict_json(own.code(pin)))


def bundle_of_program(task: TaskSetup) -> dict[str, bytes]:
    """Return the bundle given by people: their files, and the harness that runs them in a box."""
    folder = read_kept(task.folder_digest)
    places = folder.about.places()
    return {
        "models/__init__.py": HARNESS.read_bytes(),
        "models/agent.py": AGENT.read_bytes(),
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
