"""What a person's own training program hands over: rows of its data script, and weights.

Its weights are any files. A lone safetensors file of float32 is read as numbers and compared with
others; any other file is code that only a predict job opens (models/program/harness.py).
"""

import ast
import math
from typing import Literal

import numpy as np

from configs.errors import BadInput
from evals.score import tensors
from evals.tables import Items

FILE = "file:"
"""Start of a tensor's name that holds the bytes of a file."""
HEAD_BYTES = 1000
"""Most bytes of the header of an array."""


def read_rows(data: bytes, name: str, most_columns: int, most_values: int) -> Items:
    """Return an .npy file of whole numbers as uint8 (N, columns); a vector is one column.

    Read strictly: the header is a literal, and its sizes must fit the bytes. Raises BadInput.
    """
    try:
        if data[:8] != b"\x93NUMPY\x01\x00":
            raise ValueError("it is no .npy file of version 1")
        start = 10 + int.from_bytes(data[8:10], "little")
        if start > HEAD_BYTES:
            raise ValueError("its header is too long")
        head = ast.literal_eval(data[10:start].decode("ascii").strip())
        kind, shape = np.dtype(str(head["descr"])), tuple(head["shape"])
        if kind.kind not in "iu" or head["fortran_order"] or not all(type(n) is int for n in shape):
            raise ValueError(f"it holds {kind}; whole numbers in rows are taken")
        if math.prod(shape) * kind.itemsize != len(data) - start or len(shape) not in (1, 2):
            raise ValueError(f"its shape {shape} does not fit; it should have rows and columns")
        rows = np.frombuffer(data, kind, offset=start).reshape((*shape, 1)[:2])
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise BadInput(f"{name} cannot be read: {str(error)[:200]}") from None
    if not rows.size or rows.shape[1] > most_columns:
        raise BadInput(f"{name} has the shape {shape}; it should have 1 to {most_columns} columns")
    if rows.min() < 0 or rows.max() >= most_values:
        raise BadInput(
            f"{name} holds numbers from {rows.min()} to {rows.max()}; they should lie from 0 to"
            f" {most_values - 1}"
        )
    return rows.astype(np.uint8)


def inspect_outputs(data: bytes, wanted: Literal["files", "safetensors"]) -> str:
    """Return the reason for refusing what a training left, or an empty string.

    Files are refused where the task wants safetensors; so are numbers that are not finite.
    """
    held = tensors(data, "weights.safetensors")
    if isinstance(held, str):
        return held
    if held and all(name.startswith(FILE) for name in held):
        if any(part.dtype != np.uint8 or part.ndim != 1 for part in held.values()):
            return "weights.safetensors holds a file that is no row of bytes"
        if wanted == "safetensors":
            return "train.py left other files than out/weights.safetensors of float32"
        return ""
    if not held or any(part.dtype != np.float32 for part in held.values()):
        return "weights.safetensors holds tensors that are not float32"
    if not all(np.isfinite(part).all() for part in held.values()):
        return "weights.safetensors holds NaN or infinity"
    return ""


def count_weights(data: bytes) -> int:
    """Return the size of a training's outputs in float32 weights; a file counts its bytes / 4."""
    held = tensors(data, "weights.safetensors")
    return 0 if isinstance(held, str) else -(-sum(part.nbytes for part in held.values()) // 4)
