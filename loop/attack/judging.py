"""Attacks on judging: climbed noise, false predictions, seeds, copies, tables, poisoned training
data, and code that computes the answers.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from configs.entries import DataEntry
from configs.errors import NeedsHuman, VerificationFailed
from configs.records import CONFIRM, SPLITS, Scores
from configs.tokens import Task, layout
from evals.attacks.attack import read_payload
from evals.data import answers, draw_train, held_out, questions
from evals.ladder import Feedback, release_feedback
from evals.score import score
from evals.tables import Items
from loop.attack.outcome import GOT_THROUGH, try_act
from loop.attack.suite import IDLE, Suite
from loop.measure.jobs import Replicate, make_order
from loop.measure.replicate import measure, training_file
from sandbox.canonical import canonical

QUERIES = 500
ITEMS = 400
"""Items of the climbed split."""

Bits = NDArray[np.int64]
Tensors = dict[str, NDArray[Any]]

BLANK = Scores(
    split="feedback",
    items=ITEMS,
    exact_match=0.5,
    token_accuracy=0.5,
    log_odds=0.0,
    parameters=1,
    planned_cpu_us=1,
    measured_cpu_us=1,
)


def climb_noise(suite: Suite) -> str:
    """Ask for the scores of 500 random guesses, and combine the guesses reported as good.

    The answer is the rise of the reported score in standard errors (Blum and Hardt 2015).
    """
    rng = np.random.default_rng(1)
    truth: Bits = rng.integers(0, 2, ITEMS)
    guesses: Bits = rng.integers(0, 2, (QUERIES, ITEMS))
    values = [float((guess == truth).mean()) for guess in guesses]
    reports = _report(suite, values)
    signs = np.array([0.0 if r.score is None else np.sign(r.score - 0.5) for r in reports])
    votes = signs @ (2 * guesses - 1)
    combined = np.where(votes == 0, guesses[0], votes > 0)
    last = float((combined == truth).mean())
    scores = [r.score for r in _report(suite, [*values, last]) if r.score is not None]
    rise = max(scores[-1], scores[0]) - scores[0]
    return f"climbed {rise / (0.5 / ITEMS**0.5):.1f} standard errors"


def _report(suite: Suite, values: Sequence[float]) -> list[Feedback]:
    """Return a proposer's reports on trials of these scores."""
    trials = [replace(BLANK, token_accuracy=0.0, exact_match=value) for value in values]
    objective = suite.running.config.objective
    return release_feedback(trials, objective, looks=QUERIES + 1, deviation=1e-9)


def signal_by_side_channels(suite: Suite) -> str:
    """Send a signal by time, size, likelihood, slices, and digits lost by rounding."""
    signals = (
        BLANK,
        replace(BLANK, measured_cpu_us=10**6, inference_cpu_us=7),
        replace(BLANK, exact_match=0.5049),
        replace(BLANK, exact_match=0.52),
        replace(BLANK, nll=0.1, slices={"carries": 1.0}, parameters=9),
    )
    objective = suite.running.config.objective
    reports = {
        tuple(release_feedback([BLANK, signal], objective, looks=QUERIES, deviation=1e-9))
        for signal in signals
    }
    if len(reports) == 1:
        return "five signals are told alike"
    return f"{GOT_THROUGH}: {len(reports)} different answers"


def _answer(suite: Suite, task: Task, items: Items) -> Tensors:
    """Return right predictions as tensors."""
    tokens = answers(task, items)
    return {"tokens": tokens, "probabilities": _certain(suite, task, tokens)}


def _certain(suite: Suite, task: Task, tokens: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return certain probabilities for these tokens."""
    width = layout(task, suite.running.config.task.baseline).vocabulary
    return np.eye(width, dtype=np.float32)[tokens.astype(np.int64)]


def _answer_confirm(suite: Suite) -> Tensors:
    """Return right predictions on the confirm split."""
    return _answer(
        suite, suite.running.config.task.format(), suite.running.items.of(0).splits[CONFIRM]
    )


def _score_files(suite: Suite, files: Iterable[bytes]) -> str:
    """Return the refusal of each predictions file, or the first score given."""
    task, recipe = suite.running.config.task.format(), suite.running.config.task.baseline
    items, refusals = suite.running.items.of(0).splits[CONFIRM], []
    for data in files:
        scores = score(data, items, task, recipe, CONFIRM, 1, 1)
        if not isinstance(scores, str):
            return f"{GOT_THROUGH}: {scores!r}"
        refusals.append(scores)
    return "; ".join(refusals)


def write_bad_probabilities(suite: Suite) -> str:
    """Write probabilities that are not finite, negative, too large or without the sum 1."""
    good = _answer_confirm(suite)

    def spoil(value: float) -> bytes:
        probabilities = good["probabilities"].copy()
        probabilities[0, 0, 0] = value
        return save({**good, "probabilities": probabilities})

    spoilt = [spoil(value) for value in (np.nan, np.inf, -np.inf, -1.0, 2.0)]
    halved = save({**good, "probabilities": good["probabilities"] * np.float32(0.5)})
    return _score_files(suite, [*spoilt, halved])


def answer_other_task(suite: Suite) -> str:
    """Write right predictions for another task."""
    task = Task(name="modular", modulus=31, held_out=50)
    items = held_out(task, suite.running.items.of(0).secret)[CONFIRM]
    return _score_files(suite, [save(_answer(suite, task, items))])


def write_bad_headers(suite: Suite) -> str:
    """Write predictions with duplicate keys in the header, or a huge header."""
    data = save(_answer_confirm(suite))
    size = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + size].strip(), data[8 + size :]
    headers = (header[:-1] + b"," + header[1:], header + b" " * 150_000)
    return _score_files(suite, [struct.pack("<Q", len(bad)) + bad + rest for bad in headers])


def copy_weights(suite: Suite) -> str:
    """Return the same weights from two replicates."""
    return _train_twice(suite, "constant")


def copy_nearly(suite: Suite) -> str:
    """Return known weights with a little noise."""
    return _train_twice(suite, "near")


def fix_seed(suite: Suite) -> str:
    """Fix the seed and the training data in a patch."""
    return _train_twice(suite, "seeded")


def _train_twice(suite: Suite, payload: str) -> str:
    """Train two replicates of a plan with a payload; return the reasons of their failure."""
    program = {"models/train.py": read_payload(payload).encode()}
    planned = suite.plan(program)
    for index in (0, 1):
        measure(suite.running, Replicate(planned=planned, index=index), "feedback", None)
    return "; ".join(suite.running.facts().failures[planned.digest]) or GOT_THROUGH


def fix_seed_alone(suite: Suite) -> str:
    """Fix the seed in a patch; each replicate must still get training data of its own."""
    program = {"models/train.py": read_payload("seeded").encode()}
    planned = suite.plan(program)
    replicates = [Replicate(planned=planned, index=index) for index in range(4)]
    files = {training_file(suite.running, replicate).digest for replicate in replicates}
    return f"{len(files)} of 4 training files differ"


def poison_training_data(suite: Suite) -> str:
    """Put an item of the sealed split into a training file."""
    running = suite.running
    planned = suite.plan({"models/train.py": IDLE})
    drawn = draw_train(running.config.task.format(), running.items.of(0).secret, 1)
    items = np.concatenate([drawn, running.items.of(0).splits["sealed"][:1]])
    blob = running.sandbox.store.put(save({"items": items}))
    running.ledger.append(DataEntry(plan=planned.digest, index=0, digest=blob))
    first = Replicate(planned=planned, index=0)
    return try_act(lambda: measure(running, first, "feedback", None), VerificationFailed)


def answer_from_table(suite: Suite) -> str:
    """Answer from a table of all possible training data."""
    running, task = suite.running, suite.running.config.task.format()
    table: dict[bytes, NDArray[np.uint8]] = {}
    for seed in range(20):
        rows = draw_train(task, running.items.of(0).secret, seed)
        for question, answer in zip(questions(task, rows), answers(task, rows), strict=True):
            table[question.tobytes()] = answer
    items = running.items.of(0).splits[CONFIRM]
    unknown = np.zeros(answers(task, items).shape[1], np.uint8)
    predicted = [table.get(question.tobytes(), unknown) for question in questions(task, items)]
    tokens = np.array(predicted, np.uint8)
    data = save({"tokens": tokens, "probabilities": _certain(suite, task, tokens)})
    scores = score(data, items, task, running.config.task.baseline, CONFIRM, 1, 1)
    if isinstance(scores, str):
        return scores
    return f"a table of {len(table)} items is right on {scores.exact_match:.2f}"


def promote_computable_code(suite: Suite) -> str:
    """Ask a mandate to promote a patch with code to compute the answers."""
    planned = suite.plan({"models/train.py": IDLE + b"  # a + b"})
    return try_act(lambda: suite.running.gate.authority(planned.digest, "promote"), NeedsHuman)


def recognise_split(suite: Suite) -> str:
    """Recognise the split from the order of a job and the shape of its questions."""
    running = suite.running
    planned = suite.plan({"models/train.py": IDLE})
    order = canonical(make_order(running, Replicate(planned=planned, index=0), "predict"))
    shapes = set()
    for split in SPLITS:
        tensor = load(running.sandbox.store.get(running.items.questions(0)[split][0]))["questions"]
        shapes.add((tensor.dtype.str, tensor.shape))
    named = any(split.encode() in order for split in SPLITS)
    if len(shapes) > 1 or named:
        return f"{GOT_THROUGH}: {sorted(shapes)}"
    return "feedback, gate and sealed look alike"
