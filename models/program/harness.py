"""Run a person's own training program in a box: their files, their data, their outputs.

It travels as `models/__init__.py` and stands in for `models.train`, `models.predict` and
`models.propose`, which the box asks for. IN/models/program.json names the person's files. They are
laid out in one folder that can be written, and a script runs there as `python train.py` would:

    data/questions.npy     uint8 (N, question columns)
    data/answers.npy       uint8 (N, answer columns); train alone
    data/train.bin         train alone: the rows one after another as uint16, a stream of tokens
    out/                   train writes any files; predict finds them again
    predictions.npy        predict writes float (N, answer columns, values): probabilities

HEIRLOOP_SEED and HEIRLOOP_CPU_SECONDS (planned compute of a training) stand in the environment. A
data script runs once with `data.py` as its name and writes questions.npy and answers.npy.

Standard library alone, and a single file, so that it runs in any environment of people's own.
Nothing here is trusted: the program runs in the same process.
"""

import ast
import json
import math
import os
import random
import runpy
import struct
import subprocess
import sys
from array import array
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

WORK = Path("/tmp/task")
FIRST = 2
"""Tokens 0 and 1 are separators in every task; values start here (configs/tokens.py)."""
LOWER = bytes(max(0, i - FIRST) for i in range(256))
FILE = "file:"
"""Start of a tensor's name that holds the bytes of a file."""
WEIGHTS = "weights.safetensors"


def main(role: str, source: Path, target: Path) -> None:
    """Lay out the files, run the script of a role, and hand out what it wrote."""
    if role == "propose":
        return propose(source, target)
    about = json.loads((source / "models/program.json").read_text())
    WORK.mkdir()
    apart = about.get("not_in_predict", []) if role == "predict" else []
    for name, place in about["files"].items():
        if name in apart:
            continue
        (WORK / name).write_bytes((source / place).read_bytes())
    if "data" in about:
        run(about["data"])
        for name in ("questions.npy", "answers.npy"):
            (target / name).write_bytes((WORK / name).read_bytes())
        return None
    order = json.loads((source / "job.json").read_text())
    (WORK / "data").mkdir()
    (WORK / "out").mkdir()
    os.environ["HEIRLOOP_SEED"] = str(order["seed"] % 2**32)
    os.environ["HEIRLOOP_CPU_SECONDS"] = str(order["steps"] / 1000)
    random.seed(order["seed"])
    if role == "train":
        lay_out(source / "data.safetensors", "items", order["task"])
        run("train.py")
        (target / WEIGHTS).write_bytes(pack(WORK / "out"))
        return None
    lay_out(source / "questions.safetensors", "questions", order["task"])
    unpack((source / WEIGHTS).read_bytes(), WORK / "out")
    run("predict.py")
    data = read_predictions(WORK / "predictions.npy", order["task"])
    (target / "predictions.safetensors").write_bytes(data)
    return None


def run(script: str) -> None:
    """Run a script as the main program, in the folder of the task."""
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        del sys.modules[name]
    sys.path[:] = [str(WORK), *(path for path in sys.path if path != "/in")]
    sys.argv = [script]
    os.chdir(WORK)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            stop(end.code)
        if end.code not in (None, 0):
            raise


def stop(reason: str) -> NoReturn:
    """End the job as failed, with its reason as the last words."""
    print(reason, file=sys.stderr)
    raise SystemExit(1)


def lay_out(path: Path, name: str, task: dict[str, Any]) -> None:
    """Write the questions, and in a training file the answers, as values from 0."""
    tensors, data = read_tensors(path.read_bytes())
    (first, last), width = tensors[name]["data_offsets"], tensors[name]["shape"][1]
    cells = data[first:last].translate(LOWER)
    rows = [cells[at : at + width] for at in range(0, len(cells), width)]
    asked = task["question"]
    write_npy(WORK / "data/questions.npy", [row[:asked] for row in rows], asked)
    if name == "items":
        answers = [row[asked + 1 :] for row in rows]
        write_npy(WORK / "data/answers.npy", answers, task["answer"])
        stream = b"".join(map(bytes.__add__, (row[:asked] for row in rows), answers))
        with (WORK / "data/train.bin").open("wb") as file:
            array("H", list(stream)).tofile(file)


def read_tensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the bytes of a safetensors file."""
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return header, data[start:]


def write_tensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """Return a safetensors file of tensors: name -> (type, shape, bytes)."""
    header, at = dict[str, Any](), 0
    for name, (kind, shape, data) in tensors.items():
        offsets = [at, at + len(data)]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for *_, data in tensors.values())


def write_npy(path: Path, rows: list[bytes], width: int) -> None:
    """Write rows of bytes as an array of uint8."""
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(rows)}, {width}), }}"
    text = head.encode() + b" " * (-(len(head) + 11) % 64) + b"\n"
    lead = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text))
    path.write_bytes(lead + text + b"".join(rows))


def pack(folder: Path) -> bytes:
    """Return what training left as one file.

    A lone weights.safetensors of float32 stays as it is, and can be compared with others. Any other
    files become tensors of bytes: nobody but a predict job opens them.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    if list(files) == [WEIGHTS]:
        tensors, data = read_tensors(files[WEIGHTS])
        if tensors and all(one["dtype"] == "F32" for one in tensors.values()):
            return write_tensors(
                {
                    name: ("F32", one["shape"], data[slice(*one["data_offsets"])])
                    for name, one in tensors.items()
                }
            )
    if not files:
        stop("train.py left nothing in out/; it should write the weights there")
    return write_tensors({FILE + name: ("U8", [len(data)], data) for name, data in files.items()})


def unpack(data: bytes, folder: Path) -> None:
    """Write what `pack` put together into a folder."""
    tensors, rest = read_tensors(data)
    if not all(name.startswith(FILE) for name in tensors):
        (folder / WEIGHTS).write_bytes(data)
        return
    for name, one in tensors.items():
        place = folder / name.removeprefix(FILE)
        if ".." in place.parts or not place.is_relative_to(folder):
            stop(f"the weights hold a file outside out/: {name[:80]!r}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(rest[slice(*one["data_offsets"])])


def read_predictions(path: Path, task: dict[str, Any]) -> bytes:
    """Return predictions.npy as the trusted side reads it: tokens and their probabilities."""
    if not path.exists():
        stop("predict.py wrote no predictions.npy")
    data = path.read_bytes()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    head = ast.literal_eval(data[10:start].decode())
    values, answer, shape = task["values"], task["answer"], head["shape"]
    given_values = shape[-1] if shape else 0
    count = math.prod(shape) // max(1, given_values * answer)
    wanted = [(count, answer, given_values), *([(count, given_values)] if answer == 1 else [])]
    kinds = {"<f4": "f", "<f8": "d"}
    fits = head["descr"] in kinds and not head["fortran_order"] and shape in wanted
    if not fits or not 0 < given_values <= values:
        stop(
            f"predictions.npy is {head['descr']} {shape}; it should be float32 (N, {answer},"
            f" {values}): a probability of each value. Fewer values are the first ones"
        )
    left = bytes(4 * (values - given_values))
    given = array(kinds[head["descr"]], data[start:])
    wide, tokens = bytearray(), bytearray()
    for at in range(0, len(given), given_values):
        row = array("f", given[at : at + given_values])
        tokens.append(FIRST + row.index(max(row)))
        wide += bytes(4 * FIRST) + row.tobytes() + left
    return write_tensors(
        {
            "probabilities": ("F32", [count, answer, FIRST + values], bytes(wide)),
            "tokens": ("U8", [count, answer], bytes(tokens)),
        }
    )


def propose(source: Path, target: Path) -> None:
    """Run the study's own proposing program: a history in, a proposal a line out."""
    own, data = Path("/tmp/proposer"), (source / "program").read_bytes()
    own.write_bytes(data)
    own.chmod(0o700)
    first = data.partition(b"\n")[0]
    direct = data[:4] == b"\x7fELF" or (first[:2] == b"#!" and b"python" not in first)
    python = [] if direct else [sys.executable, "-B"]
    history = (source / "history.json").read_bytes() + b"\n"
    with (target / "proposals.jsonl").open("wb") as out:
        code = subprocess.run(
            [*python, str(own)], input=history, stdout=out, cwd="/tmp", check=False
        ).returncode
    if code:
        raise SystemExit(code if code > 0 else 1)


def stand_in() -> None:
    """Be `models.train`, `models.predict` and `models.propose`, whatever files lie there."""
    for role in ("train", "predict", "propose"):
        module = ModuleType(f"models.{role}")
        module.__dict__["main"] = partial(main, role)
        sys.modules[f"models.{role}"] = module


if __name__ == "models":
    stand_in()
