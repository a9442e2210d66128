"""The log of a loop that ran elsewhere: its page, its figures, and bad input of every kind."""

import json
import os
import random
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
from itertools import pairwise

import numpy as np
import pytest
from conftest import ROOT
from foreign import WRITERS, plant, plant_example, write_csv, write_example, write_history

from configs.errors import BadInput
from configs.records.trials import Trial, TrialLog
from evals.false_keeps import PRIORS
from evals.intervals import Figure
from evals.trial_logs import list_steps
from loop.audit import copy, read
from loop.audit.formats.base import MOST_TRIALS
from loop.audit.measure import Noise, measure, write_audit
from loop.audit.read import read_log
from loop.audit.tell import list_answers
from loop.command import main


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the verb in this process; return its exit code, its page and its error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["heirloop", "audit", *map(str, words)])
        try:
            main.main()
            code = 0
        except SystemExit as end:
            code = end.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def figures(call, *words):
    code, page, error = call(*words, "--json")
    assert code == 0, error
    return json.loads(page)


RECORDED = ("autoresearch", "csv")
"""Formats that record decisions."""


@pytest.mark.parametrize("kind", WRITERS)
def test_a_planted_log_gives_figures_that_hold_its_truth(call, tmp_path, kind):
    held = []
    for seed in range(3):
        loop = plant("zeros and gains", [11, seed], trials=60, noise=0.01, start=1.0)
        log = WRITERS[kind](loop.trials, tmp_path / f"log{seed}")
        told = figures(call, log, "--noise", 0.01)
        lines = told["figures"]
        assert told["format"] == kind.split(",")[0]
        assert told["rule"] == ("greedy" if kind in RECORDED else "not recorded")
        assert lines["trials"]["value"] == 60 and lines["keeps"]["value"] == loop.keeps
        for name, truth in (
            ("false_keeps", loop.false),
            ("winners_curse", loop.excess),
            ("gain_that_is_left", loop.left),
        ):
            held.append(lines[name]["low"] <= truth <= lines[name]["high"])
    assert sum(held) >= 8


@pytest.mark.parametrize("kind", sorted(set(WRITERS) - {"wandb"}))
def test_repeats_of_a_content_are_the_noise_in_every_format(call, tmp_path, kind):
    loop = plant("no effect", 3, trials=10, noise=0.02, start=1.0)
    rng = np.random.default_rng(8)
    again = [
        Trial(name=f"r{i}", score=float(rng.normal(1, 0.02)), kept=False, content="c0", text="same")
        for i in range(30)
    ]
    if kind == "autoresearch":
        log = write_history([*loop.trials, *again], tmp_path / "log")
    else:
        log = WRITERS[kind]([*loop.trials, *again], tmp_path / "log")
    told = figures(call, log)["figures"]
    assert told["duplicates"]["value"] == 30
    assert told["noise"]["n"] == 30 and told["noise"]["low"] <= 0.02 <= told["noise"]["high"]


def test_noise_is_measured_from_the_baseline_or_from_repeats_in_the_log(call, tmp_path):
    loop = plant("no effect", 3, trials=30, noise=0.02, start=1.0)
    rng = np.random.default_rng(5)
    scores = rng.normal(1.0, 0.02, 40)
    (tmp_path / "base").write_text("score\n" + "\n".join(f"{s:.6f}" for s in scores))
    log = write_csv(loop.trials, tmp_path / "log.csv")
    noise = figures(call, log, "--baseline", tmp_path / "base")["figures"]["noise"]
    assert noise["low"] <= 0.02 <= noise["high"] and noise["n"] == 39
    assert noise["value"] == pytest.approx(scores.std(ddof=1), abs=1e-6)
    told = figures(call, log)["figures"]
    assert told["noise"]["word"] == "cannot tell" and told["false_keeps"]["word"] == "cannot tell"
    with open(log, "a") as file:
        file.writelines(f"r{i},{s:.6f},false,c0,dev,again\n" for i, s in enumerate(scores))
    told = figures(call, log)
    assert told["noise_source"] == "repeats in the log"
    assert told["figures"]["duplicates"]["value"] == 40
    noise = told["figures"]["noise"]
    assert noise["low"] <= 0.02 <= noise["high"] and noise["n"] == 40


def test_a_wider_noise_gives_wider_figures(call, tmp_path):
    loop = plant("zeros and gains", [11, 0], trials=60, noise=0.01, start=1.0)
    log = write_csv(loop.trials, tmp_path / "log.csv")
    (tmp_path / "base").write_text("1.0\n1.0141\n")  # one degree of freedom
    known = figures(call, log, "--noise", 0.00997)["figures"]
    rough = figures(call, log, "--baseline", tmp_path / "base")["figures"]
    for name in ("false_keeps", "winners_curse", "gain_that_is_left"):
        assert rough[name]["low"] <= known[name]["low"] <= known[name]["high"]
        assert rough[name]["high"] - rough[name]["low"] > known[name]["high"] - known[name]["low"]


def test_the_page_has_a_line_for_everything_and_says_what_it_cannot_tell(call, tmp_path):
    log = tmp_path / "results.tsv"
    log.write_text(
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "a1b2c3d\t0.997900\t44.0\tkeep\tbaseline\n"
        "b2c3d4e\t0.993200\t44.2\tkeep\tincrease LR to 0.04\n"
        "b2c3d4e\t1.005000\t44.0\tdiscard\tswitch to GeLU's \u202eactivation\n"
        "d4e5f6g\t0.000000\t0.0\tcrash\tdouble model width (OOM)\n"
        "d4e5f7a\t0.993200\t44.0\tdiscard\tnothing\n"
    )
    for path in (log, tmp_path):
        code, page, _ = call(path)
        assert code == 0
        page = " ".join(page.split())
        assert "results.tsv of autoresearch; score val_bpb, smaller is better" in page
        assert "trials: 5 trials in the log, 4 with a score; without: 1 crash" in page
        assert "keeps: 1 trials after the first were kept" in page
        assert "equal scores: 1 trials" in page
        for name in ("noise", "false keeps", "winner's curse", "repeats", "promised less kept"):
            assert f"{name}: cannot tell: " in page
        assert "note: 2 trials name a commit that trials of another description name too" in page
        assert (
            page.count("plateau: 2 trials with a score since the last keep, so at most 0.84") == 1
        )


def test_the_promised_gain_is_held_against_the_logged_one(call, tmp_path):
    rows = ["trial,loss,kept,promised"]
    score, rng = 5.0, np.random.default_rng(2)
    for i in range(30):
        gain = 0.0 if i == 0 else 0.1 + 0.01 * rng.random()
        score -= gain
        rows.append(f"{i},{score},keep,{gain + 0.05 if i else ''}")
    (tmp_path / "log.csv").write_text("\n".join(rows))
    line = figures(call, tmp_path / "log.csv")["figures"]["promised_less_kept"]
    assert line["value"] == pytest.approx(0.05) and line["n"] == 29 and line["word"] == ""


def test_several_scores_or_no_direction_are_asked_for(call, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("trial,alpha,beta\n1,0,3\n2,0.0,4\n")
    code, _, error = call(log)
    assert code == 2 and "(alpha, beta)" in error, "a score of zeros may be the score too"
    log.write_text("trial,alpha,beta\n1,0.5,3\n2,0.6,4\n")
    code, _, error = call(log)
    assert code == 2 and "2 columns that may be the score (alpha, beta)" in error
    code, _, error = call(log, "--score", "gamma")
    assert code == 2 and "has no score gamma" in error and "alpha, beta" in error
    code, _, error = call(log, "--score", "alpha")
    assert code == 2 and "--direction" in error
    assert figures(call, log, "--score", "alpha", "--direction", "up")["figures"]["keeps"]["value"]
    told = figures(call, log, "--score", "alpha", "--direction", "down")
    assert told["figures"]["keeps"]["value"] == 0


def write(data):
    return lambda place: place.write_bytes(data)


def sparse(place):
    place.touch()
    os.truncate(place, 1_000_000_000)


def link(place):
    real = place.with_name("real.csv")
    real.write_text("trial,score\n1,0.5\n2,0.6\n")
    place.symlink_to(real)


def bound_socket(place):
    with socket.socket(socket.AF_UNIX) as door:
        here = os.getcwd()
        os.chdir(place.parent)
        door.bind(place.name)
        os.chdir(here)


ODD = {
    "missing": lambda place: None,
    "nothing": write(b""),
    "a head alone": write(b"trial,score\n"),
    "a line": write(b"hello\n"),
    "garbage": write(bytes(range(256)) * 50),
    "zeros": write(b"a,score\n" + b"\0" * 1000),
    "Latin-1": write("trial,score,idea\n1,0.5,gr\u00f6\u00dfer\n".encode("latin-1")),
    "half of UTF-16": write("trial,score\n1,0.5\n".encode("utf-16")[:-1]),
    "a pickle": write(b"\x80\x04\x95abc"),
    "a zip": write(b"PK\x03\x04" + b"\0" * 100),
    "gzip": write(b"\x1f\x8b" + b"\0" * 100),
    "one gigabyte": sparse,
    "a link": link,
    "a pipe": lambda place: os.mkfifo(place),
    "a socket": bound_socket,
    "an empty folder": lambda place: place.mkdir(),
    "a long field": write(b"trial,score\n1," + b"5" * 500_000 + b"\n"),
    "too many trials": write(b"trial,score\n" + b"1,0.5\n" * 6000),
    "no number": write(b"trial,score\n1,nan\n2,inf\n3,x\n"),
    "YAML": write(b"!!python/object/apply:os.system [true]\n"),
}


SAYS = {
    "one gigabyte": "has 1000000000 bytes, and at most 256000000 are read",
    "a link": "it is a link",
    "a pipe": "is no regular file",
    "a pickle": "it is a pickle, which is never opened",
    "a zip": "it is an archive, which is never opened",
    "Latin-1": "is no text in UTF-8 or UTF-16",
    "too many trials": "holds more than 5000 trials",
}


@pytest.mark.parametrize("kind", ODD)
def test_bad_input_is_one_sentence_and_nothing_is_lost(call, tmp_path, kind, monkeypatch):
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    place = tmp_path / "log"
    ODD[kind](place)
    before = _state(place)
    code, page, error = call(place)
    lines = [line for line in error.splitlines() if not line.endswith(": begins")]
    assert code == 2 and page == "" and len(lines) == 1, (code, page, error)
    assert lines[0].startswith("heirloop: ") and "Traceback" not in error
    assert SAYS.get(kind, "") in error
    assert _state(place) == before and not list(kept.iterdir())


def _state(place):
    if not place.is_file() or place.stat().st_size > 10**8:
        return place.exists() and place.lstat().st_mode
    return place.read_bytes(), place.stat().st_mtime_ns


@pytest.mark.parametrize("size", [64_000_001, 256_000_001])
def test_the_size_comes_before_the_first_byte(tmp_path, monkeypatch, size):
    (tmp_path / "log").write_text("trial,score\n1,0.5\n")
    os.truncate(tmp_path / "log", size)
    copied = []
    real = copy._copy_bytes
    monkeypatch.setattr(copy, "_copy_bytes", lambda *words: copied.append(words) or real(*words))
    with pytest.raises(BadInput, match="at most"):
        read_log(tmp_path / "log")
    assert len(copied) == (size < copy.DATABASE_BYTES)


def random_trials(rng):
    """Return trials of any kind that a reader could give."""
    scores = [0.0, 1.0, -1.0, 1e30, -1e30, 1e-30, 0.5, 0.5000001, None]
    return tuple(
        Trial(
            name=rng.choice("abc"),
            score=rng.choice(scores) if rng.random() < 0.5 else rng.gauss(0, 1),
            kept=rng.choice([True, False, None]),
            content=rng.choice(["", "x", "y"]),
            group=rng.choice(["", "dev"]),
            promised=rng.choice([None, 0.1, 1e30]),
            failure=rng.choice(["", "crash"]),
        )
        for _ in range(rng.randrange(1, 25))
    )


@pytest.mark.parametrize("seed", range(30))
def test_any_log_gets_a_page_and_plain_numbers(seed):
    rng = random.Random(seed)
    log = TrialLog(
        format="csv",
        metric="score",
        direction=rng.choice(["up", "down"]),
        trials=random_trials(rng),
        made=rng.choice([None, 3, 40]),
    )
    size = rng.choice([None, 1e-300, 1e-3, 0.1, 1e30])
    noise = size and Noise(figure=Figure(value=size, unit="score"), source="--noise")
    with np.errstate(all="raise", under="ignore"):
        audit = measure(log, "", noise)
    json.dumps(write_audit(audit), allow_nan=False)
    page = dict(list_answers(audit))
    assert len(page) >= 14 and not [text for text in page.values() if "nan" in text.split()]


def test_a_log_of_failures_or_of_one_trial_has_a_page(call, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("trial,score,status\n1,0,crash\n2,0,crash\n")
    lines = figures(call, log, "--score", "score")["figures"]
    assert lines["trials"]["value"] == 2 and lines["keeps"]["value"] == 0
    log.write_text("trial,score,status\n1,0.5,keep\n")
    lines = figures(call, log, "--noise", 1)["figures"]
    assert lines["false_keeps"]["word"] == lines["repeats"]["word"] == "cannot tell"


def test_other_encodings_that_can_be_known_are_read(tmp_path):
    text = "trial,score,idea\r\n1,0.5,gr\u00f6\u00dfer\r\n2,0.6,kleiner\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / encoding).write_bytes(text.encode(encoding))
        trials = read_log(tmp_path / encoding).trials
        assert [(t.score, t.text) for t in trials] == [(0.5, "gr\u00f6\u00dfer"), (0.6, "kleiner")]


def test_numbers_of_a_table_are_numbers_alone(tmp_path):
    (tmp_path / "log").write_text("trial;score\n1;0.5\n2;1_0\n3;true\n4;1e400\n5;0x1\n6; 7 \n")
    trials = read_log(tmp_path / "log").trials
    assert [t.score for t in trials] == [0.5, None, None, None, None, 7.0]


def test_a_log_that_changes_while_it_is_copied_is_refused(tmp_path, monkeypatch):
    log = tmp_path / "log.csv"
    log.write_text("trial,score\n1,0.5\n2,0.6\n")
    real = copy._copy_bytes

    def slow(source, target, size):
        start = real(source, target, size)
        with open(log, "a") as file:
            file.write("3,0.7\n")
        return start

    monkeypatch.setattr(copy, "_copy_bytes", slow)
    with pytest.raises(BadInput, match="changes while it is read"):
        read_log(log)


def test_the_baseline_is_bad_input_too(call, tmp_path):
    log = write_csv(plant("no effect", 1, trials=5).trials, tmp_path / "log.csv")
    for text in ("0.5\n", "0.5\n0.5\n", "", "hello\nyou\n"):
        (tmp_path / "base").write_text(text)
        code, _, error = call(log, "--baseline", tmp_path / "base")
        assert code == 2 and "--baseline is" in error, text
    code, _, error = call(log, "--noise", "0")
    assert code == 2 and "--noise is 0.0" in error
    (tmp_path / "base").write_text("0.5\n0.6\n")
    code, _, error = call(log, "--noise", "1", "--baseline", tmp_path / "base")
    assert code == 2 and "both given" in error


@pytest.fixture
def recorded(tmp_path):
    """Unpack a log that a real tool wrote; return its folder and the true scores of programs."""

    def unpack(kind):
        with tarfile.open(ROOT / "tests" / "logs" / f"{kind}.tar.xz") as archive:
            archive.extractall(tmp_path / kind, filter="data")
        return tmp_path / kind, json.loads((tmp_path / kind / "truth.json").read_text())

    return unpack


def test_a_database_that_shinka_wrote_gives_figures_that_hold_its_truth(call, recorded):
    folder, truth = recorded("shinka")
    log = read_log(folder)
    failed = [f"g{i}" for i in range(9, 41, 9)]
    assert [t.name for t in log.trials] == [f"g{i}" for i in range(41)]
    assert [t.name for t in log.trials if t.score is None] == failed
    lines = figures(call, folder, "--noise", 0.01)["figures"]
    steps = list_steps(log.trials, "up")
    path = [steps[0], *(step for step in steps if step.keep)]
    true = [truth[log.trials[step.index].name] for step in path]
    real = {
        "false_keeps": sum(b <= a for a, b in pairwise(true)),
        "winners_curse": path[-1].score - true[-1],
        "gain_that_is_left": true[-1] - true[0],
    }
    for name, value in real.items():
        assert lines[name]["low"] <= value <= lines[name]["high"], name
    noise = np.std([t.score - truth[t.name] for t in log.trials if t.score is not None])
    assert 0.007 < noise < 0.014  # the scores are those of the programs


def test_checkpoints_that_openevolve_wrote_have_lost_programs(call, recorded):
    folder, truth = recorded("openevolve")
    both, last = (read_log(p) for p in (folder, folder / "checkpoints" / "checkpoint_40"))
    assert both.made == last.made == 41 and len(last.trials) < len(both.trials) < 41
    assert all(abs(t.score - truth[t.name]) < 0.05 for t in both.trials if t.score is not None)
    assert {t.failure for t in both.trials if t.score is None} == {"error"}
    lines = figures(call, folder, "--noise", 0.01)["figures"]
    assert lines["false_keeps"]["word"] == "cannot tell" and "lost" in lines["false_keeps"]["says"]
    assert lines["keeps"]["word"] == "at least"


def test_runs_of_wandb_are_taken_in_the_order_of_their_start(call, tmp_path):
    head = "Name,State,Created,Runtime,eval/loss,Tags\n"
    rows = [
        "d,running,2026-01-04T00:00:00Z,5,0.1,",
        "c,crashed,2026-01-03T00:00:00Z,60,0.2,",
        "b,finished,2026-01-02T00:00:00Z,60,0.4,",
        "a,finished,2026-01-01T00:00:00Z,60,0.5,",
    ]
    (tmp_path / "runs.csv").write_text(head + "\n".join(rows) + "\n")
    log = read_log(tmp_path / "runs.csv")
    assert [(t.name, t.score, t.failure) for t in log.trials] == [
        ("a", 0.5, ""),
        ("b", 0.4, ""),
        ("c", None, "crashed"),
    ]
    assert (log.format, log.metric, log.direction) == ("wandb", "eval/loss", "down")
    assert log.notes == ("1 runs had not ended and are left out",)


def test_a_summary_is_read_and_never_run(tmp_path):
    mark = tmp_path / "ran"
    evil = f"__import__('os').system('touch {mark}')"
    (tmp_path / "runs.csv").write_text(
        f'summary,config,name\n"{{\'acc\': 0.5}}",{{}},a\n"{evil}","{evil}",b\n'
        "dict(acc=0.9),{},c\n"
    )
    log = read_log(tmp_path / "runs.csv")
    assert [(t.name, t.score) for t in log.trials] == [("a", 0.5), ("b", None), ("c", None)]
    assert not mark.exists()


DOCUMENT = (ROOT / "docs" / "audit.md").read_text()


def test_the_page_in_the_document_is_what_the_verb_prints(call, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    block = DOCUMENT.split("```\n")[1]
    command, _, page = block.partition("\n")
    words = command.split()
    assert words[:2] == ["heirloop", "audit"]
    code, out, _ = call(*words[2:])
    assert code == 0 and out == page


def test_the_truth_that_the_document_tells_is_that_of_its_log():
    loop = plant_example()
    told = re.search(
        r"(\d) of the (\d) keeps are false, the curse is ([\d.]+), and ([\d.]+) is left", DOCUMENT
    )
    assert (int(told[1]), int(told[2])) == (loop.false, loop.keeps)
    assert float(told[3]) == pytest.approx(loop.excess, abs=5e-6)
    assert float(told[4]) == pytest.approx(loop.left, abs=5e-6)


def test_the_example_is_the_planted_log(tmp_path):
    write_example(tmp_path)
    for name in ("results.tsv", "baseline.txt"):
        assert (tmp_path / name).read_text() == (ROOT / "docs" / "examples" / name).read_text()


def test_the_limits_in_the_document_are_those_of_the_code():
    text = " ".join(DOCUMENT.split())
    assert f"a list of {len(read.CALLS)} system calls" in text
    assert f"use {read.CPU_SECONDS} CPU-seconds and {read.MEMORY_BYTES >> 30} GiB" in text
    assert f"At most {MOST_TRIALS:,} trials, {copy.TEXT_BYTES // 10**6} MB of text and" in text
    assert f"{copy.TOTAL_BYTES // 10**6} MB in all" in text and str(len(PRIORS)) in text


def test_the_document_explains_every_line_of_the_page(call):
    told = figures(call, ROOT / "docs" / "examples" / "results.tsv", "--noise", 0.001)["figures"]
    table = DOCUMENT.split("## What each line means")[1].split("\n## ")[0]
    explained = {
        line.split("|")[1].strip().replace("'", "").replace(" ", "_")
        for line in table.splitlines()
        if line.startswith("|")
    }
    assert told and set(told) <= explained


def test_the_verb_needs_neither_torch_nor_a_box():
    code = (
        "import sys; from loop.command.audit import audit;"
        "print(sorted({'torch', 'sqlalchemy', 'hydra', 'docker', 'matplotlib'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.stdout == "[]\n", out.stdout + out.stderr
