"""A small training program of a person's own, and what a box that computes nothing makes of it."""

import io
import json

import numpy as np
from fakes import FakeBox, outcome, predictions
from safetensors.numpy import load, save

from configs.build import parse, strict_json
from configs.job import Order
from evals.program import FILE
from loop.settings import compose_settings
from loop.study import program_data

TASK = """\
metric: exact_match
planned_cpu_seconds: 0.3
seed_deviation: 0.02
held_out: 60
data: [data.py, shift.txt]
may_change: {train.py: patch}
"""
DATA = """\
import numpy as np
shift = int(open("shift.txt").read())
rng = np.random.default_rng(1)
asked = np.unique(rng.integers(0, 8, (900, 6)), axis=0).astype("u1")
np.save("questions.npy", asked)
np.save("answers.npy", ((asked[:, 0] + shift) % 4).astype("u1"))
"""
TRAIN = """\
import json
import os
import numpy as np


# region: update
def count(questions, answers):
    table = np.full((8, 4), 0.5)
    for row, answer in zip(questions[:40], answers):
        table[row[0], answer] += 1.0
    return table
# endregion


asked, answers = np.load("data/questions.npy"), np.load("data/answers.npy")[:, 0]
stream = np.fromfile("data/train.bin", "<u2").reshape(len(asked), -1)
assert (stream[:, :-1] == asked).all() and (stream[:, -1] == answers).all()
order = np.random.default_rng(int(os.environ["HEIRLOOP_SEED"])).permutation(len(asked))
table = count(asked[order], answers[order])
with open("out/table.json", "w") as file:
    json.dump((table / table.sum(1, keepdims=True)).tolist(), file)
"""
PREDICT = """\
import json
import numpy as np

with open("out/table.json") as file:
    table = np.array(json.load(file), "f4")
np.save("predictions.npy", table[np.load("data/questions.npy")[:, 0]])
"""
FOLDER = {
    "task.yaml": TASK,
    "data.py": DATA,
    "shift.txt": "3",
    "train.py": TRAIN,
    "predict.py": PREDICT,
    "notes.txt": "never listed, so no job gets it",
}
ROWS = 600
SMALL = [
    "task=program",
    "study=single",
    "proposer=evolve",
    "gates=programs",
    "study.generations=2",
    "study.proposals=2",
    "study.confirm_replicates=8",
    "study.name=t",
]
NUMBERS = TASK + "weights: safetensors\n"


def write_folder(place, **changed):
    """Write the folder of the program; a file given as None is left out."""
    place.mkdir(parents=True, exist_ok=True)
    for name, text in {**FOLDER, **changed}.items():
        if text is not None:
            (place / name).write_text(text)
    return place


def npy(array):
    """Return an array as the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def rows():
    """Return the questions and the answers of the program, as its data script gives them."""
    asked = np.unique(np.random.default_rng(1).integers(0, 8, (900, 6)), axis=0).astype("u1")
    return asked[:ROWS], ((asked[:ROWS, 0] + 3) % 4).astype("u1")


def data_job(execution):
    """Answer the job of a data script; None for any other job."""
    about = json.loads(execution.files["models/program.json"])
    if "data" not in about:
        return None
    asked, answers = rows()
    return outcome(files={"questions.npy": npy(asked), "answers.npy": npy(answers)})


def answer_jobs(better, numbers=False):
    """Return a script for FakeBox: predictions are right with the chance `better(train.py)`."""

    def script(execution):
        if (made := data_job(execution)) is not None:
            return made
        order = parse(Order, strict_json(execution.files["job.json"]))
        text, rng = execution.files["models/train.py"].decode(), np.random.default_rng(order.seed)
        if order.role == "train":
            left = {"w": rng.standard_normal(9).astype("f4")}
            if not numbers:
                left = {f"{FILE}table.json": rng.integers(0, 255, 20).astype("u1")}
            return outcome(files={"weights.safetensors": save(left)})
        asked = load(execution.files["questions.safetensors"])["questions"][:, 0].astype(int) - 2
        tokens = ((asked + 3) % 4 + 2).astype("u1")[:, None]
        wrong = rng.random(len(tokens)) > better(text)
        tokens[wrong] = (tokens[wrong] - 1) % 4 + 2
        return outcome(files={"predictions.safetensors": predictions(tokens, 10)})

    return script


def composer(tmp_path, monkeypatch):
    """Return a function that composes a study of the folder, with some of its files changed.

    Its data script is answered by a box that computes nothing, `box` of the function.
    """
    box = FakeBox(lambda order: 0.0, answer_jobs(lambda text: 0.0))
    monkeypatch.setattr(program_data, "make_real_box", lambda settings: box)

    def start(*overrides, **files):
        folder = write_folder(tmp_path / "folder", **files)
        runs = f"runs={tmp_path / 'runs'}"
        return compose_settings([*SMALL, f"task.folder={folder}", runs, *overrides])

    start.box = box
    return start
