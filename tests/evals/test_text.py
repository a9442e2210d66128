"""Task `text`: blocks, windows, slices and bits, from the committed texts."""

import hashlib
import math

import numpy as np
import pytest
from safetensors.numpy import save

from configs.errors import BadInput
from configs.recipe import Recipe
from configs.tokens import CHARACTERS, FIRST_VALUE, Task, layout
from evals import task as asked
from evals import text
from evals.data import answers, draw_train, held_out, overlap, questions, slices
from evals.metrics import read_metric
from evals.score import LEAST_PROBABILITY, score

SECRET = b"a" * 32
TASK = Task(name="text", held_out=400, train_items=4000)


@pytest.fixture(scope="module")
def splits():
    return held_out(TASK, SECRET)


@pytest.fixture(scope="module")
def train():
    return draw_train(TASK, SECRET, 1)


def read(row):
    """The characters of a row of tokens."""
    codes = row.astype(int) - FIRST_VALUE
    return "".join("\n" if c == 0 else chr(c + 31) if c < CHARACTERS - 1 else "?" for c in codes)


def test_the_texts_are_the_committed_ones():
    assert hashlib.sha256(text.FILE.read_bytes()).hexdigest() == text.DIGEST
    assert [len(text.read_text(name)) // text.BLOCK for name in ("english", "code", "licence")] == [
        685,
        161,
        25,
    ]


def test_another_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "text.json.xz").write_bytes(b"other")
    monkeypatch.setattr(text, "FILE", tmp_path / "text.json.xz")
    text.read_text.cache_clear()
    with pytest.raises(BadInput, match=r"evals/text.json.xz has the digest d9298a10d1b0"):
        text.read_text("english")
    monkeypatch.undo()
    text.read_text.cache_clear()


def test_characters_have_codes_and_others_share_one():
    assert text.encode("ab\n ~“").tolist() == [66, 67, 0, 1, 95, CHARACTERS - 1]


def test_runs_are_cut_and_paragraphs_stand_once():
    assert text.tidy("a\n*******\n\nb\n\nb\n\n\nc        d") == "a\n****\n\nb\n\nc    d"


def test_blocks_are_dealt_once_and_each_split_has_many():
    for name in ("english", "code", "licence"):
        parts = text.deal(name, SECRET)
        whole = np.concatenate(list(parts.values()))
        assert len(set(whole.tolist())) == len(whole)
    sizes = {split: len(blocks) for split, blocks in text.deal("english", SECRET).items()}
    assert sizes == {"feedback": 68, "confirm": 68, "sealed": 68, "train": 481}


def test_windows_of_a_split_lie_in_its_blocks_and_in_many_of_them(splits):
    english = text.read_text("english")
    for split, rows in splits.items():
        assert rows.shape == (400, 65) and rows.dtype == np.uint8
        blocks = {
            english[start : start + text.BLOCK].tobytes(): start
            for start in text.deal("english", SECRET)[split]
        }
        homes = [
            next(start for block, start in blocks.items() if row.tobytes() in block)
            for row in rows - np.uint8(FIRST_VALUE)
        ]
        assert len(set(homes)) >= 24


def test_a_context_is_asked_once_over_all_splits(splits):
    contexts = questions(TASK, np.concatenate(list(splits.values())))
    assert contexts.shape == (1200, 64) and len(np.unique(contexts, axis=0)) == 1200


def test_no_training_row_shares_a_run_with_a_held_out_window(splits, train):
    assert train.shape == (4000, 65) and len(np.unique(train, axis=0)) > 3900
    runs = {
        row[i : i + text.GRAM].tobytes()
        for rows in splits.values()
        for row in rows
        for i in range(65 - text.GRAM + 1)
    }
    shared = [
        any(row[i : i + text.GRAM].tobytes() in runs for i in range(65 - text.GRAM + 1))
        for row in train
    ]
    assert not any(shared)
    out = np.concatenate(list(splits.values()))
    assert overlap(TASK, train, out) == 0
    assert overlap(TASK, np.concatenate([train, out[:7]]), out) == 7


def test_a_repeat_s_secret_deals_its_items(splits, train):
    again, other = held_out(TASK, SECRET), held_out(TASK, b"b" * 32)
    assert all((again[s] == splits[s]).all() for s in splits)
    assert not any((other[s] == splits[s]).all() for s in splits)
    assert (draw_train(TASK, SECRET, 1) == train).all()
    assert not (draw_train(TASK, SECRET, 2) == train).all()


def test_slices_are_other_texts_and_differ_between_the_splits(splits):
    parts = {split: slices(TASK, SECRET, split, rows) for split, rows in splits.items()}
    assert {tuple(part) for part in parts.values()} == {("code", "licence")}
    assert {len(rows) for part in parts.values() for rows in part.values()} == {100}
    for name in ("code", "licence"):
        rows = [set(map(bytes, part[name])) for part in parts.values()]
        assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    codes = text.read_text("code").tobytes()
    assert all((row - np.uint8(FIRST_VALUE)).tobytes() in codes for row in parts["sealed"]["code"])


def test_a_question_holds_the_context_without_the_next_character(splits):
    rows = splits["confirm"]
    assert questions(TASK, rows).shape[1] == 64 and answers(TASK, rows).shape[1] == 1
    assert read(rows[0])[:-1] == read(questions(TASK, rows)[0])


def test_too_many_held_out_windows_are_refused():
    with pytest.raises(BadInput, match=r"task.held_out is 20000; it should be at most"):
        held_out(Task(name="text", held_out=20_000), SECRET)


def test_the_rows_of_a_check_are_in_bits(splits, train):
    gate = splits["confirm"]
    rows = [
        asked.exclusion(TASK, [train], splits),
        asked.inputs(TASK, [questions(TASK, gate)]),
        asked.repeats(TASK, train),
        asked.chance(TASK, train, gate),
        asked.leakage(TASK, train, gate),
    ]
    assert all(row.passed for row in rows), rows
    assert 4.3 < rows[3].value < 4.9 and 3.6 < rows[4].value < 4.0
    leaked = asked.exclusion(TASK, [np.concatenate([train, gate[:3]])], splits)
    assert leaked.value == 3 and not leaked.passed
    assert not asked.chance(TASK, np.full_like(train, 3), np.full_like(gate, 3)).passed


def predictions(items, right, width):
    """Predictions that give the right character a probability, and share the rest."""
    rows = np.full((len(items), 1, width), (1 - right) / (width - 1), np.float32)
    np.put_along_axis(rows, answers(TASK, items)[:, :, None].astype(int), np.float32(right), axis=2)
    tokens = rows.argmax(axis=2).astype(np.uint8)
    return {"tokens": tokens, "probabilities": rows}


def scored(parts, items, of_slices):
    files = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return score(save(files), items, TASK, Recipe(), "confirm", 1, 1, 0, of_slices)


def test_bits_are_the_mean_negative_log2_of_the_right_character(splits):
    items, width = splits["confirm"], layout(TASK, Recipe()).vocabulary
    parts = slices(TASK, SECRET, "confirm", items)
    given = [(items, 0.5), (parts["code"], 0.25), (parts["licence"], 0.125)]
    scores = scored([predictions(rows, right, width) for rows, right in given], items, parts)
    assert scores.bits == pytest.approx(1, abs=1e-4)
    assert scores.bits == pytest.approx(scores.nll / math.log(2))
    assert scores.slice_bits == pytest.approx({"code": 2, "licence": 3}, abs=1e-3)
    assert read_metric(scores, "bits", "licence") == scores.slice_bits["licence"]
    assert math.isnan(read_metric(scores, "bits", "other"))


def test_bits_of_a_sure_mistake_are_finite(splits):
    items, width = splits["confirm"], layout(TASK, Recipe()).vocabulary
    files = predictions(items, 0.0, width)
    scores = scored([files], items, {})
    assert scores.bits == pytest.approx(-math.log2(LEAST_PROBABILITY))
