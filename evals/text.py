"""Characters of task `text`: English, source code and a licence, as they ship with Python 3.11.7.

Example: "ab\\n" is the codes 66, 67, 0. Code 0 is the newline, 1 to 95 are the printable ASCII
characters from the blank on, and 96 stands for any other character. The three texts lie in
`text.json.xz`, under the licence of the Python Software Foundation (PSF-2.0). The file was written
by `write_file` under that version. Another file is refused by its digest.

The texts are cut into blocks of 512 characters. The secret of a repeat deals the blocks to
training and to the three splits. A window lies inside a block, so no window crosses a border.
"""

import hashlib
import hmac
import json
import lzma
import re
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import BadInput
from configs.records import SPLITS
from configs.tokens import CHARACTERS, FIRST_VALUE, Task

Codes = NDArray[np.uint8]
FILE = Path(__file__).with_name("text.json.xz")
DIGEST = "4cb10bc531680d08a02e7b173423083d4cfa42f61b8836d8a3396a156039a26a"
"""sha256 of the file."""
BLOCK = 512
"""Consecutive characters that are dealt together."""
HELD_OUT_SHARE = 0.1
"""Share of the English blocks of each split."""
GRAM = 32
"""A training row shares no run of as many characters with a held-out block."""
MODULES = ("heapq", "statistics", "textwrap")
"""Modules of the standard library in slice `code`."""
LONGEST_RUN = 4
"""Longer runs of blanks, or of a character that rules a line, are cut to as many."""


@cache
def read_text(name: str) -> Codes:
    """Return a text as codes: `english`, `code` or `licence`."""
    data = FILE.read_bytes()
    if hashlib.sha256(data).hexdigest() != DIGEST:
        raise BadInput(
            f"evals/{FILE.name} has the digest {hashlib.sha256(data).hexdigest()[:12]}; it should"
            f" have {DIGEST[:12]}"
        )
    return encode(json.loads(lzma.decompress(data))[name])


def encode(text: str) -> Codes:
    """Return the codes of a text, uint8 (N,)."""
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    codes = np.where((points >= 32) & (points <= 126), points - 31, CHARACTERS - 1)
    return np.where(points == ord("\n"), 0, codes).astype(np.uint8)


def tidy(text: str) -> str:
    """Return a text with short runs, and with each paragraph once."""
    text = re.sub(r"([ *=\-~^\"#_])\1{4,}", lambda run: run[1] * LONGEST_RUN, text)
    paragraphs = dict.fromkeys(part.rstrip() for part in re.split(r"\n\s*\n", text))
    return "\n\n".join(part for part in paragraphs if part)


def write_file(licence: Path, target: Path) -> str:
    """Write the three texts of the running Python; return the sha256.

    Used once: `python -c "from evals.text import *; write_file(Path(LICENCE), FILE)"`.
    """
    import importlib
    import inspect

    topics = importlib.import_module("pydoc_data.topics").topics
    texts = {
        "english": "\n\n".join(topics[name] for name in sorted(topics)),
        "code": "\n\n".join(inspect.getsource(importlib.import_module(m)) for m in MODULES),
        "licence": licence.read_text(),
    }
    whole = json.dumps({name: tidy(text) for name, text in texts.items()})
    target.write_bytes(lzma.compress(whole.encode(), preset=9))
    return hashlib.sha256(target.read_bytes()).hexdigest()


def deal(name: str, secret: bytes) -> dict[str, NDArray[np.int64]]:
    """Return the first characters of the blocks of each split, and of `train`.

    Only English is trained on; the blocks of another text are dealt to the splits alone.
    """
    starts = np.arange(len(read_text(name)) // BLOCK) * BLOCK
    label = f"blocks:{name}".encode()
    seed = int.from_bytes(hmac.digest(secret, label, "sha256"), "big")
    dealt = np.random.default_rng(seed).permutation(starts)
    size = int(len(dealt) * HELD_OUT_SHARE) if name == "english" else len(dealt) // len(SPLITS)
    parts = {split: dealt[i * size : (i + 1) * size] for i, split in enumerate(SPLITS)}
    return parts | {"train": dealt[len(SPLITS) * size :] if name == "english" else dealt[:0]}


def windows(name: str, blocks: NDArray[np.int64], width: int) -> Codes:
    """Return every window of `width` characters inside these blocks, uint8 (N, width)."""
    text = read_text(name)
    starts = (blocks[:, None] + np.arange(BLOCK - width + 1)).ravel()
    return np.asarray(np.lib.stride_tricks.sliding_window_view(text, width)[starts])


def held_out_rows(task: Task, secret: bytes) -> dict[str, Codes]:
    """Return the windows of each split as tokens, uint8 (held_out, window + 1).

    A context that occurs twice in the held-out blocks is left out. Raises BadInput if too few
    windows are left.
    """
    parts = deal("english", secret)
    found = {split: windows("english", parts[split], task.window + 1) for split in SPLITS}
    unique = _unique_contexts(np.concatenate(list(found.values())))
    rows, first = dict[str, Codes](), 0
    for split, whole in found.items():
        left = whole[unique[first : first + len(whole)]]
        first += len(whole)
        if len(left) < 4 * task.held_out:
            raise BadInput(
                f"task.held_out is {task.held_out}; it should be at most {len(left) // 4} for this"
                " task"
            )
        rows[split] = _take(left, task.held_out, secret, f"windows:{split}")
    return rows


def slice_rows(task: Task, secret: bytes, split: str, name: str, count: int) -> Codes:
    """Return windows of another text, from the blocks that this split was dealt."""
    whole = windows(name, deal(name, secret)[split], task.window + 1)
    return _take(whole, count, secret, f"slice:{name}:{split}")


def train_rows(task: Task, secret: bytes, rng: np.random.Generator) -> Codes:
    """Return a training file: rows of window + 1 tokens at random places of the training blocks."""
    starts = rng.permutation(_open_starts(task, secret))[: task.train_items]
    text = np.lib.stride_tricks.sliding_window_view(read_text("english"), task.window + 1)
    return np.asarray(text[starts] + np.uint8(FIRST_VALUE))


def shared_runs(rows: Codes, others: Codes) -> NDArray[np.bool_]:
    """Tell for each row whether it holds a run of GRAM characters of another row."""
    banned = np.unique(_grams(others))
    return np.asarray(np.isin(_grams(rows), banned).any(axis=1))


def frequency_bits(train: Codes, out: Codes, *, pairs: bool) -> float:
    """Return the bits of the next character by the frequencies in a training file.

    `pairs` counts characters after the character before. Every character counts once more.
    """
    table = np.ones((256, CHARACTERS))
    for column in range(1, train.shape[1]):
        before = train[:, column - 1].astype(np.int64) if pairs else np.zeros(len(train), np.int64)
        np.add.at(table, (before, train[:, column] - FIRST_VALUE), 1)
    shares = table / table.sum(axis=1, keepdims=True)
    last = out[:, -2].astype(np.int64) if pairs else np.zeros(len(out), np.int64)
    return float(-np.log2(shares[last, out[:, -1] - FIRST_VALUE]).mean())


@lru_cache(maxsize=4)
def _open_starts(task: Task, secret: bytes) -> NDArray[np.int64]:
    """Return the first characters of the windows of the training blocks that share no run of GRAM
    characters with a held-out block.
    """
    parts, runs = deal("english", secret), _grams(read_text("english")[None])[0]
    inside = np.arange(BLOCK - GRAM + 1)
    held_out = np.concatenate([parts[split] for split in SPLITS])[:, None] + inside
    shared = np.concatenate([[0], np.isin(runs, np.unique(runs[held_out])).cumsum()])
    starts = (parts["train"][:, None] + np.arange(BLOCK - task.window)).ravel()
    last = starts + max(1, task.window + 2 - GRAM)
    return np.asarray(starts[shared[last] == shared[starts]])


def _grams(rows: Codes) -> NDArray[np.uint64]:
    """Return a hash of every run of GRAM characters of each row: a polynomial modulo 2^64."""
    columns = max(1, rows.shape[1] - GRAM + 1)
    hashes = np.zeros((len(rows), columns), np.uint64)
    for offset in range(min(GRAM, rows.shape[1])):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += rows[:, offset : offset + columns]
    return hashes


def _unique_contexts(rows: Codes) -> NDArray[np.bool_]:
    contexts = np.ascontiguousarray(rows[:, :-1]).view(f"V{rows.shape[1] - 1}").ravel()
    _, place, count = np.unique(contexts, return_inverse=True, return_counts=True)
    return np.asarray(count[place] == 1)


def _take(rows: Codes, count: int, secret: bytes, label: str) -> Codes:
    seed = int.from_bytes(hmac.digest(secret, label.encode(), "sha256"), "big")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return rows[chosen] + np.uint8(FIRST_VALUE)
