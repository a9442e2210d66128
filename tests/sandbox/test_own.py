"""People's own files: named and pinned, run in a child with limits, and only where they were
named.
"""

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
    monkeypatch.setattr(own, "CHILD", own.CHILD.replace('told["seconds"]', "9"))
    assert "it took more than 0.5 s" in gate(tmp_path, "import time; time.sleep(60)")


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
    ],
)
def test_items_that_are_none_are_refused_with_a_sentence(tmp_path, text, said):
    with pytest.raises(BadInput, match=said):
        own.items(named(tmp_path, text))
