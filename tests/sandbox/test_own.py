"""People's own files: named and pinned, run in a child with limits, and only where they were
named.
"""

import os
import time

import pytest

from configs.errors import BadInput, VerificationFailed
from sandbox import keys, own

PLAN = {"purpose": "candidate", "recipe": {"width": 64}}


def named(tmp_path, text, name="own.py"):
    path = tmp_path / name
    path.write_text(text)
    return own.name(str(path), "gates.file")


def gate(tmp_path, body, head=""):
    return own.refusal(
        named(tmp_path, f"{head}\ndef gate(plan, change_class):\n    {body}\n"), PLAN, "recipe"
    )


def test_a_gate_says_why_or_nothing(tmp_path):
    assert gate(tmp_path, "return 'too wide' if plan['recipe']['width'] > 32 else ''") == "too wide"
    assert gate(tmp_path, "return '' if change_class == 'recipe' else 'no'") == ""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("return True", "gave no text"),
        ("return None", "gave no text"),
        ("return {1}", "not JSON serializable"),
        ("while True: pass", "ended by signal"),
        ("import pathlib; pathlib.Path('HERE/x').write_text('x')", "File too large"),
        ("return [0] * 10**9 and ''", "MemoryError"),
        ("import os; os._exit(0)", "gave no text"),
        ("return '\\ud800'", "gave no text"),
    ],
)
def test_whatever_a_gate_does_instead_of_answering_is_a_no(tmp_path, monkeypatch, body, said):
    monkeypatch.setattr(own, "GATE_SECONDS", 1)
    assert said in gate(tmp_path, body.replace("HERE", str(tmp_path)))


def test_a_gate_that_sleeps_is_ended_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "GATE_SECONDS", 0.1)
    monkeypatch.setattr(own, "CHILD", own.CHILD.replace('call["seconds"]', "9"))
    assert "it took more than 0.5 s" in gate(tmp_path, "import time; time.sleep(60)")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 'x' * 10**8", "gave out more than"),
        ("import sys\n    while True: print('x' * 10**6)", "gave out more than"),
        ("import os\n    while True: os.write(3, b'x' * 10**6)", "gave out more than"),
        (
            "import os, time; os.close(1), os.close(2), os.close(3), time.sleep(60)",
            "took more than",
        ),
        ("import os, time; os.fork() or (os.setsid(), time.sleep(60)); os._exit(0)", "no text"),
    ],
)
def test_a_gate_that_floods_or_lingers_is_ended_in_time(tmp_path, monkeypatch, body, said):
    monkeypatch.setattr(own, "GATE_SECONDS", 1)
    started = time.monotonic()
    assert said in gate(tmp_path, body)
    assert time.monotonic() - started < 4 * 5


def test_a_long_reason_is_cut_and_prints_are_no_answer(tmp_path):
    assert gate(tmp_path, "return 'x' * 9000") == "x" * own.REASON
    assert gate(tmp_path, "print('no'); return ''") == ""


def test_the_child_gets_no_environment_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY", "hello")
    assert (
        gate(
            tmp_path,
            "import os; return os.environ.get('CANARY', '') + os.environ.get('HEIRLOOP_HOME', '')",
        )
        == ""
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x = 1\n" * 51, "at most 50 lines"),
        (b"\xff\xfe", "UTF-8"),
        (b"", "1 to"),
        (b"#" * 9000, "1 to"),
    ],
)
def test_what_is_no_small_python_text_is_refused(tmp_path, data, said):
    (tmp_path / "own.py").write_bytes(data)
    with pytest.raises(BadInput, match=said):
        own.name(str(tmp_path / "own.py"), "task.file")


def test_a_missing_file_is_refused_by_name():
    with pytest.raises(BadInput, match=r"gates\.file"):
        own.name("/no/such.py", "gates.file")


def test_only_a_file_that_was_named_here_is_run(tmp_path):
    pin = named(tmp_path, "def gate(plan, change_class): return ''\n")
    assert own.known(pin) and not own.known("0" * 64) and not own.known("")
    (keys.home() / "own" / pin).write_text("def gate(plan, change_class): return 'changed'\n")
    with pytest.raises(VerificationFailed, match="was changed"):
        own.refusal(pin, PLAN, "recipe")
    with pytest.raises(VerificationFailed, match="never named here"):
        own.refusal("0" * 64, PLAN, "recipe")


TASK = (
    "QUESTION, ANSWER, VALUES = 2, 1, 5\ndef items(): return [[a, b, (a + b) % 5] for a in range(5)"
    " for b in range(5)]\n"
)


def test_a_task_gives_its_sizes_and_rows(tmp_path):
    sizes, data = own.items(named(tmp_path, TASK))
    assert (
        sizes == {"rows": 25, "columns": 3, "question": 2, "answer": 1, "values": 5}
        and len(data) == 75
        and data[:3] == b"\0\0\0"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TASK.replace("2, 1, 5", "2, 2, 5"), r"QUESTION \+ ANSWER"),
        (TASK.replace("2, 1, 5", "2, 1, 4"), "below VALUES"),
        (TASK.replace("[a, b, (a", "[a, b, -1 - (a"), "whole numbers from 0"),
        (TASK.replace("[a, b, (a", "[a, b, 0.5 + (a"), "whole numbers from 0"),
        (TASK.replace("[a, b, (a", "[a, b, 300 + (a"), "whole numbers from 0"),
        ("def items(): return [[1]]\n", "KeyError"),
        ("QUESTION, ANSWER, VALUES = 'a', 1, 2\ndef items(): return [[1, 1]]\n", "whole numbers"),
        ("QUESTION, ANSWER, VALUES = 1, 1, 2\ndef items(): return []\n", "items"),
        ("QUESTION, ANSWER, VALUES = 1, 1, 2\ndef items(): return [[1, 1], [1]]\n", "lengths"),
        ("QUESTION, ANSWER, VALUES = 1, 1, 10**30\ndef items(): return [[1, 1]]\n", "whole"),
        ("QUESTION, ANSWER, VALUES = 3, -1, 2\ndef items(): return [[1, 1]]\n", "whole numbers"),
        ("QUESTION, ANSWER, VALUES = 3, float('nan'), 2\ndef items(): return [[1, 1]]\n", "NaN"),
        ("QUESTION, ANSWER, VALUES = {1}, 1, 2\ndef items(): return [[1, 1]]\n", "serializable"),
        ("import os; os.write(3, b'[1]\\n'), os._exit(0)\n", "writes nothing"),
        ("import os; os.write(3, b'5'), os._exit(0)\n", "writes nothing"),
        ("x = 1\n", "no function items"),
        ("def items(): return 5\n", "not iterable"),
    ],
)
def test_items_that_are_none_are_refused_with_a_sentence(tmp_path, text, said):
    with pytest.raises(BadInput, match=said):
        own.items(named(tmp_path, text))


def test_a_task_may_yield_its_items(tmp_path):
    text = TASK.replace("return [[a, b, (a + b) % 5]", "yield from ([a, b, (a + b) % 5]")
    text = text.replace(" range(5)]", " range(5))")
    assert own.items(named(tmp_path, text)) == own.items(named(tmp_path, TASK))


def test_a_task_that_yields_for_ever_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "TASK_BYTES", 100_000)
    endless = "QUESTION, ANSWER, VALUES = 1, 1, 2\ndef items():\n    while True: yield [1, 1]\n"
    with pytest.raises(BadInput, match="more than 100000 cells"):
        own.items(named(tmp_path, endless))


def test_a_pipe_or_a_folder_is_no_file_of_ones_own(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero", "a\0b", "x" * 5000):
        with pytest.raises(BadInput, match="cannot be read"):
            own.name(str(path), "task.file")
