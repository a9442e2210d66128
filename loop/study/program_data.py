"""The data of a person's own training program: its script runs once in a box, before the study.

Its questions go to the jobs; its answers stay with the trusted side, in the user's own folder.
Which questions are held out is drawn from each repeat's secret, as for every other task. Begin
with `fill_in`.
"""

from typing import Any

import numpy as np

from configs.build import need, parse
from configs.errors import BadInput, VerificationFailed
from configs.job import Limits
from configs.settings.box import Box
from evals.program import read_rows
from evals.tables import OWN, Items
from loop.study.box import make_real_box
from loop.study.environment import need_no_answers
from loop.study.program import Folder, data_bundle, read_kept
from sandbox import keys, own
from sandbox.box.base import Execution
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file

MOST_COLUMNS, MOST_ANSWERS, MOST_VALUES = 128, 16, 250
MOST_BYTES = 64_000_000
"""Most bytes of the questions, and of the answers, that a data script may write."""
LIMITS = Limits(
    cpu_us=120_000_000,
    wall_us=240_000_000,
    memory_bytes=2_000_000_000,
    disk_bytes=128_000_000,
    output_bytes=2 * MOST_BYTES,
)
"""Limits of the data script; no study's budget pays for it."""


def fill_in(composed: dict[str, Any]) -> None:
    """Fill in the task, and the limits, of composed settings from the folder that they name.

    Its data script runs in a box unless its rows are known. Raises BadInput for a script that
    fails or gives other than rows of small numbers, and for another metric than the objective's.
    """
    task, pin = composed["task"], str(composed["task"]["folder_digest"])
    folder = read_kept(pin)
    about = folder.about
    metric = composed["objective"]["metric"] if "objective" in composed else about.metric
    right = f"{about.metric}, as task.yaml says: objective={about.metric}"
    need(metric == about.metric, "objective.metric", metric, right)
    own_settings = {
        "held_out": about.held_out,
        "train_items": about.train_items,
        "planned_cpu_us": round(about.planned_cpu_seconds * 1_000_000),
        "seed_deviation": about.seed_deviation,
    }
    need_no_answers(parse(Box, composed.get("box", {}), "box"), about.answers_in)
    task |= {name: value for name, value in own_settings.items() if task.get(name) is None}
    task |= {"judged_by": about.metric, "weights": about.weights, "computable": about.computable()}
    task["may_change"] = about.classes()
    task |= _read_items(folder, parse(Box, composed.get("box", {}), "box"), task.get("items", ""))
    for role, limits in (about.limits or {}).items():
        composed["budget"][role] = {**composed["budget"][role], **limits}


def load_program_items(items: str) -> None:
    """Read the rows of a program's data from the user's own folder into memory, once."""
    if items not in OWN:
        _remember(items)


def _read_items(folder: Folder, box: Box, pinned: str) -> dict[str, Any]:
    """Return the sizes and the digest of the rows; run the data script where nobody knows them."""
    wanted = digest(canonical({"script": folder.about.data[0], "files": folder.data}))
    place = keys.home() / "own" / f"rows-of-{wanted}"
    name = place.read_text() if place.is_file() else ""
    if not own.known(name):
        name = _run_script(folder, box)
        replace_file(place, name)
    if pinned and name != pinned:
        raise VerificationFailed(
            "the data script gives other rows than those that are pinned; it should give the same"
            " ones whenever it runs"
        )
    rows, question, values = _remember(name)
    sizes = {"question": question, "answer": rows.shape[1] - question, "values": values}
    return {**sizes, "items": name}


def _run_script(folder: Folder, settings: Box) -> str:
    """Run the data script in a box, once; keep its rows, and return their digest."""
    script = folder.about.data[0]
    box = make_real_box(settings)
    try:
        outputs = {"questions.npy": MOST_BYTES, "answers.npy": MOST_BYTES}
        result = box.run(
            Execution(role="train", files=data_bundle(folder), limits=LIMITS, outputs=outputs)
        )
    finally:
        box.close()
    if result.status != "ok":
        last = (result.log.decode(errors="replace").strip().splitlines() or ["no word"])[-1]
        raise BadInput(
            f"{script} of task.folder ended with {result.status}: {result.detail} ({last[:200]})"
        )
    parts = {
        name: read_rows(result.files.get(f"{name}.npy", b""), f"{name}.npy", most, MOST_VALUES)
        for name, most in (("questions", MOST_COLUMNS), ("answers", MOST_ANSWERS))
    }
    rows = np.concatenate([_as_long(parts, name) for name in parts], axis=1)
    values = max(2, int(rows.max()) + 1)
    head = bytes([parts["questions"].shape[1], parts["answers"].shape[1], values])
    return own.keep(head + rows.tobytes())


def _as_long(parts: dict[str, Items], name: str) -> Items:
    """Return the rows of a part; questions and answers are equally many."""
    counts = {len(part) for part in parts.values()}
    need(len(counts) == 1, "rows of questions.npy and answers.npy", sorted(counts), "as many")
    return parts[name]


def _remember(name: str) -> tuple[Items, int, int]:
    """Read kept rows into memory; return them, the columns of a question, and the values."""
    data = own.code(name, 4 * MOST_BYTES)
    question, answer, values = data[:3]
    OWN[name] = np.frombuffer(data, np.uint8, offset=3).reshape(-1, question + answer)
    return OWN[name], question, values
