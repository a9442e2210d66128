"""Studies from Python: the notebook of docs/python.md, and what its functions refuse."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

from configs.errors import BadInput, NeedsHuman, VerificationFailed
from loop.api import open_run, read_tables, run_study, write_overrides
from loop.export.tables import TABLES
from loop.settings import compose_settings
from loop.study.open import open_study, release_locks

SMALL = {
    "study": "planted",
    "study.name": "t",
    "study.arms": ["planted"],
    "study.repeats": 1,
    "study.generations": 1,
    "study.confirm_replicates": 6,
    "study.final_replicates": 4,
    "objective.acceptance": "paired_t",
    "objective.alpha": 0.3,
    "task.world": "null",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cells():
    """Return the cells of the notebook."""
    text = (ROOT / "docs" / "python.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_cells_of_the_notebook_run_in_order():
    names = {}
    assert len(cells()) >= 5
    for number, cell in enumerate(cells()):
        exec(compile(cell, f"cell {number}", "exec"), names)
    assert names["run"].summary["finished"]
    assert sum(names["verdicts"].values()) == 2 * 2 * 3
    assert {arm for arm, _ in names["gains"]} <= {"planted", "random"} and names["gains"]
    assert set(names["tables"]) == set(TABLES)


def test_a_dict_says_what_a_list_of_overrides_says_and_a_word_stays_a_word():
    as_list = [f"{k}={v}".replace(" ", "") for k, v in SMALL.items() if k != "task.world"]
    as_list = [text.replace("'", "") for text in as_list] + ["task.world='null'"]
    assert compose_settings(write_overrides(SMALL)) == compose_settings(as_list)
    odd = {"a": None, "b": True, "c": "it's \\ 1", "d": {"k": [1, "x,y"]}, "e": Path("p=q")}
    assert write_overrides(odd)[:2] == ["a=null", "b=true"]
    where = compose_settings(write_overrides({**SMALL, "runs": "odd =[x], 'it'"})).runs
    assert where == "odd =[x], 'it'"
    with pytest.raises(BadInput, match="a list or a dict"):
        run_study("study=planted")


def test_without_a_yes_nothing_runs_and_the_run_can_be_opened_elsewhere_after_each_call():
    with pytest.raises(NeedsHuman, match="waits for a mandate"):
        run_study(SMALL)
    assert open_run("runs/t").summary["jobs"] == 0
    open_study(compose_settings(write_overrides(SMALL)))  # the lock is free again
    release_locks()


def test_tables_are_frames_of_the_library_that_is_named_and_keep_their_types(capsys):
    run = run_study(SMALL, unattended=True)
    assert '"classes"' in capsys.readouterr().out  # the mandate is shown in full
    lists = read_tables(run, library="lists")
    assert run_study(SMALL, unattended=True).summary["jobs"] == run.summary["jobs"] > 0
    pa = pytest.importorskip("pyarrow")
    table = read_tables(run, library="pyarrow")["jobs"]
    assert table.column("cpu_us").to_pylist() == lists["jobs"]["cpu_us"]
    assert table.schema.field("cpu_us").type == pa.int64()
    with pytest.raises(BadInput, match="named twice"):
        read_tables(run, run, library="lists")
    with pytest.raises(BadInput, match="one of pandas, pyarrow, lists"):
        read_tables(run, library="polars")


def test_tables_are_frames_of_pandas_where_it_is_there_and_a_sentence_where_it_is_not(monkeypatch):
    run = run_study(SMALL, unattended=True)
    pytest.importorskip("pandas")
    frame = read_tables(run)["plans"]
    assert str(frame["generation"].dtype) == "Int64" and str(frame["arm"].dtype) == "string"
    assert len(frame) == len(read_tables(run, library="lists")["plans"]["plan"])
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(BadInput, match="pip install pandas"):
        read_tables(run)


def test_a_run_with_a_changed_byte_is_not_opened():
    run_study(SMALL, unattended=True)
    file = Path("runs/t/checkpoints.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"count":', b'"count":1', 1))
    with pytest.raises(VerificationFailed):
        open_run("runs/t")
