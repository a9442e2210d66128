"""Measure how many planted mistakes the tests find: mutmut's mutants, sampled, one at a time.

For example, a mutant turns `>=` into `>` in the statement that reserves a budget. Tests of a few
seconds must then fail, or run out of time. Each subject gives as many mutants as the others. They
are tried in random order in copies of the tree, so a part of a run is an honest sample too.

`mutants.py run RESULTS.jsonl [SUBJECT...]` goes on where a run of the same sources stopped.
`mutants.py again RESULTS.jsonl AGAIN.jsonl` tries its survivors on today's sources and tests, but
for the mutants that docs/figures/mutants-explained.jsonl explains.
`mutants.py table RESULTS.jsonl` prints killed shares with exact 95 % intervals, and survivors.
Subjects `inert ...` lack one whole check each: an `if` that refuses never does, a `need` is gone.
Such a mutant is tried on the quickest tests in which its check fires (checks.py).
It needs `pip install mutmut==3.8.1`. Docstrings, exceptions' messages and other sentences for
people stay. Unlike mutmut, this mutates decorated functions and constants of modules as well.
"""

import contextlib
import difflib
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import checks
import libcst as cst
import pytest
from checks import below
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import Mutation, MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED = ROOT / "docs" / "figures" / "mutants-explained.jsonl"
SEED, EACH = 23, 60
"""Seed of the sample, and mutants that are drawn from each subject."""
LEDGER, CYCLE = "tests/sandbox/test_ledger.py", "tests/loop/test_cycle.py"
GATES, PEOPLE = "tests/loop/test_gates.py", "tests/loop/test_people.py"
OWN = "tests/loop/test_own_files.py"
JUDGE = "tests/evals/test_judge.py tests/evals/test_judge_reference.py"
RULES = "tests/evals/test_rules.py"
HAMMERS = "test_ledger and not many_processes and not looking_before"
"""Tests of the ledger but for many processes on one account, which are slow and left to chance."""
SUBJECTS: dict[str, tuple[list[str], list[str], str]] = {
    "ledger": (
        ["sandbox/ledger.py", "sandbox/chain.py", "sandbox/heads.py"],
        [LEDGER, f"{GATES} {CYCLE}"],
        f"{HAMMERS} or clock_that_is_set_back or two_processes or full_disk",
    ),
    "budget": (
        ["sandbox/budget.py"],
        [LEDGER, f"{CYCLE} {PEOPLE}"],
        f"{HAMMERS} or reserves or job_cap or by_its_arm or look_reads or amendment_needs",
    ),
    "gate": (
        ["sandbox/gate.py", "sandbox/gate/*.py"],
        [f"tests/loop/test_tamper.py {GATES} {CYCLE} {PEOPLE} {OWN} tests/loop/test_plugs.py"],
        "differs_in_one_field or job_or_grant or signed_decision or terminal_shows"
        " or escalation_by or cooling_off or external_reviewer or silence or one_decision_is"
        " or grant_rests or mandate_lets or a_promotion_is_a_no or shows_another_fact"
        " or bad_mandate or approval_of_anything or door_refuses or needs_its_own or slowed"
        " or resume_needs or drill_lifts or program_before_it_is_asked or quorum_is_distinct"
        " or (drift_limit or recalled) and True"
        " or flood or start_trial or box_loses or canaries or example_gate or gate_sees_the_class",
    ),
    "judge": (["evals/judge.py"], [f"{JUDGE} {RULES}"], ""),
    "rules": (
        ["evals/rules.py"],
        [f"{RULES} {JUDGE}", "tests/evals/test_accepted_gain.py tests/evals/test_calibrate.py"],
        "",
    ),
}
"""Subject: globs of its sources, files of tests that are tried in turn, and which of them (-k)."""
EACH_INERT, WITNESSES = 20, 8
"""Checks that are drawn from each inert subject, and the tests that `run` tries one on."""
TAMPER, DOOR = "tests/loop/test_tamper.py", "tests/loop/test_door.py"
OTHERS = "agents", "agent_replay", "cycle", "factory", "faults", "llm", "programs", "rederived"
RECORDS = " ".join(f"tests/loop/test_{name}.py" for name in OTHERS)
REOPENED = "tests/loop/test_reopen.py tests/loop/test_repair.py"
ROOMS = "gatebench", "sealed", "certificate", "canaries", "harm_measured", "packs", "layers"
BENCH = " ".join(f"tests/loop/test_{name}.py" for name in ROOMS)
SUMS = " ".join(f"tests/evals/test_{name}.py" for name in ("pack", "gatebench_rates", "harm"))
INERT: dict[str, tuple[list[str], list[str], str]] = {
    "inert gate": (
        ["sandbox/gate/*.py"],
        [f"{DOOR} {TAMPER} {GATES} {PEOPLE} {OWN}"],
        "not ten_thousand and not derived_again and not scripted_reviewer"
        " and (not test_own_files or never_add_a_yes)",
    ),
    "inert verify": (
        ["loop/verify/*.py", "sandbox/heads.py"],
        [f"{DOOR} {TAMPER} {RECORDS} {REOPENED}"],
        "test_tamper and not ten_thousand or derived_again or second_time or test_reopen"
        " or test_repair or lies or flawed or verify_refuses or not_verify or damaged"
        " or test_rederived or checked_without or study_without_any or are_a_difference",
    ),
    "inert bench": (
        ["loop/gatebench/*.py", "configs/settings/gatebench.py", "evals/gatebench/*.py"],
        [f"{SUMS} {BENCH}"],
        "",
    ),
}
"""Subjects whose mutants lack one whole check, likewise."""
SUBJECTS |= INERT
LIBRARIES = "scipy.stats sqlalchemy hydra hypothesis securesystemslib.signer safetensors.numpy rich"
"""What a run inherits from this process instead of importing it anew."""
SETTINGS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "PYTEST_DISABLE_PLUGIN_AUTOLOAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One changed source file: `before` and `after` are the lines that differ."""

    subject: str
    file: str
    line: int
    before: str
    after: str


def mutations(source: str) -> tuple[cst.Module, list[Mutation]]:
    """Return a parsed source and mutmut's mutations of it, without those of texts alone."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    wrapper.visit(visitor)
    texts = [node for node in below(wrapper.module) if _is_text(node)]
    roots = {id(node) for node in texts}
    inside = {id(part) for node in texts for part in below(node)}
    code = [m for m in visitor.mutations if id(m.original_node) not in inside]
    return wrapper.module, [m for m in code if not _lost(m) or not _lost(m) <= roots]


class Visitor(MutationVisitor):
    """Collect mutations, those in decorated functions included: here a whole file is written."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        return not isinstance(node, cst.FunctionDef) and super()._skip_node_and_children(node)


def _is_text(node: cst.CSTNode) -> bool:
    """Tell whether a node only tells people something: SQL, which has capitals, does not."""
    if isinstance(node, cst.Raise) and isinstance(node.exc, cst.Call):
        return len(node.exc.args) == 1  # a second argument is data
    if isinstance(node, cst.Expr):
        return isinstance(node.value, cst.BaseString)
    kinds = cst.SimpleString | cst.FormattedStringText
    parts = below(node) if isinstance(node, cst.BaseString) else []
    words = " ".join(part.value for part in parts if isinstance(part, kinds))
    return words.count(" ") >= 3 and not re.search(r"\b[A-Z]{2,}\b", words)


def _lost(mutation: Mutation) -> set[int]:
    """Return the values that a mutation of a call or an assignment takes away."""
    old, new = mutation.original_node, mutation.mutated_node
    if isinstance(old, cst.Call) and isinstance(new, cst.Call):
        rest = {id(argument) for argument in new.args}
        return {id(argument.value) for argument in old.args if id(argument) not in rest}
    return {id(old.value)} if isinstance(old, cst.Assign | cst.AnnAssign) else set()


def sample(subject: str) -> dict[Mutant, str]:
    """Return the mutants that are drawn from a subject, each with its source."""
    paths = sorted({path for glob in SUBJECTS[subject][0] for path in ROOT.glob(glob)})
    parsed = [(path, *_list(subject, path.read_text())) for path in paths]
    population = [(path, module, m) for path, module, every in parsed for m in every]
    random.Random(f"{SEED} {subject}").shuffle(population)
    drawn: dict[Mutant, str] = {}
    for path, module, mutation in population:
        with contextlib.suppress(SyntaxError):
            drawn.update([mutated(subject, path, module, mutation)])
        if len(drawn) == (EACH_INERT if subject in INERT else EACH):
            break
    return drawn


def _list(subject: str, source: str) -> tuple[cst.Module, list[Mutation]]:
    if subject not in INERT:
        return mutations(source)
    return checks.checks(MetadataWrapper(cst.parse_module(source)))


def mutated(subject: str, path: Path, module: cst.Module, mutation: Mutation) -> tuple[Mutant, str]:
    """Return a mutant and its source; raises SyntaxError where that is no Python."""
    changed = module.deep_replace(mutation.original_node, mutation.mutated_node)
    assert isinstance(changed, cst.Module)
    compile(changed.code, str(path), "exec")
    old, new = module.code.splitlines(), changed.code.splitlines()
    _, _, place, *differ = difflib.unified_diff(old, new, n=0)
    before, after = ("\n".join(t[1:].strip() for t in differ if t[0] == s) for s in "-+")
    name, line = str(path.relative_to(ROOT)), int(re.findall(r"\d+", place)[0])
    return Mutant(subject=subject, file=name, line=line, before=before, after=after), changed.code


def survivors(place: Path) -> dict[Mutant, str]:
    """Return the unexplained survivors of a run, as mutants of today's sources.

    Print the survivors whose source has changed.
    """
    explained = reasons()
    left = [row for row in rows(place) if not row["killed"] and key(row) not in explained]
    sources: dict[Mutant, str] = {}
    for subject, file in sorted({(row["subject"], row["file"]) for row in left}):
        module, every = _list(subject, (ROOT / file).read_text())
        wanted = {key(row): row for row in left if row["file"] == file}
        for mutation in every:
            if not any(_may_be(module, mutation, row) for row in wanted.values()):
                continue
            with contextlib.suppress(SyntaxError):
                mutant, source = mutated(subject, ROOT / file, module, mutation)
                if wanted.pop(key(asdict(mutant)), None):
                    sources[mutant] = source
        for row in wanted.values():
            print(f"{file}:{row['line']} has changed: {row['before']} -> {row['after']}")
    return sources


def _may_be(module: cst.Module, mutation: Mutation, row: dict[str, Any]) -> bool:
    """Tell cheaply whether a mutation may be a row's: long statements always may."""
    old, new = map(module.code_for_node, (mutation.original_node, mutation.mutated_node))
    return "\n" in old or (old in row["before"] and new in row["after"])


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return what a mutant is apart from its line."""
    return row["file"], row["before"], row["after"]


def reasons() -> dict[tuple[str, str, str], str]:
    """Return why a survivor changes nothing that the tests could see, by key."""
    return {key(row): row["reason"] for row in rows(EXPLAINED)}


@dataclass
class FirstFailure:
    """A plug-in of pytest that writes down which test failed first."""

    place: Path

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Write the name of a failed test; pytest ends after it."""
        if report.failed:
            self.place.write_text(report.nodeid)


def run(place: Path, *names: str) -> None:
    """Try every mutant of these subjects, or of all, that has no result yet."""
    subjects = names or tuple(SUBJECTS)
    try_all(place, {m: source for name in subjects for m, source in sample(name).items()})


def again(place: Path, results: Path) -> None:
    """Try the survivors of a run once more, whole checks on every test in which they fire."""
    try_all(results, survivors(place), most=10**6)


def try_all(place: Path, sources: dict[Mutant, str], most: int = WITNESSES) -> None:
    """Try the mutants without a result in a file, and add their results to it."""
    subjects = sorted({mutant.subject for mutant in sources})
    old = [row for row in rows(place) if row["subject"] in subjects]
    done = {Mutant(**{name: row[name] for name in Mutant.__slots__}) for row in old}
    assert done <= sources.keys(), f"{place} has mutants of other sources; name a new file"
    os.environ |= dict.fromkeys(SETTINGS, "1")
    for library in LIBRARIES.split():
        importlib.import_module(library)
    with tempfile.TemporaryDirectory() as name, place.open("a", buffering=1) as file:
        folder = Path(name) / "copy"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "runs", "*.egg-info"))
        if (ROOT / ".box").exists():  # some tests open a real box
            (folder / ".box").symlink_to((ROOT / ".box").resolve())
        true = {name: tested(folder, name, 900) for name in subjects if name not in INERT}
        assert not any(result["killed"] for result in true.values()), f"without a mutant: {true}"
        fires = dict[Mutant, dict[str, float]]()
        for name in INERT.keys() & subjects:
            fires |= find(folder, name, sources, most)
        sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
        for mutant in random.Random(SEED).sample(list(sources), len(sources)):
            if mutant in done:
                continue
            source = folder / mutant.file
            source.write_text(sources[mutant])
            if mutant.subject in INERT:
                result = tried(folder, mutant.subject, fires.get(mutant, {}))
            else:
                limit = 20 + 4 * float(true[mutant.subject]["seconds"])
                result = tested(folder, mutant.subject, limit)
            file.write(json.dumps(asdict(mutant) | result) + "\n")
            shutil.copy2(ROOT / mutant.file, source)  # with the time of its bytecode


def find(
    folder: Path, subject: str, mutants: Iterable[Mutant], most: int
) -> dict[Mutant, dict[str, float]]:
    """Run a subject's tests once; return for each of its mutants the tests in which its check
    fires, and their seconds, the quickest first and each function once, `most` at most.

    A test that fails without a mutant is no witness.
    """
    own = [mutant for mutant in mutants if mutant.subject == subject]
    for file in {mutant.file for mutant in own}:
        lines = {mutant.line for mutant in own if mutant.file == file}
        (folder / file).write_text(checks.watch(file, (ROOT / file).read_text(), lines))
    (folder / "watched.py").write_text(f"PLACE = {str(folder / 'fired')!r}\n{checks.WATCH}")
    tested(folder, subject, 1800, plugin=checks.Durations(folder / "durations"))
    for file in {mutant.file for mutant in own}:
        shutil.copy2(ROOT / file, folder / file)
    tests = checks.witnesses(folder, most)
    return {mutant: tests.get(f"{mutant.file}:{mutant.line}", {}) for mutant in own}


def tried(folder: Path, subject: str, tests: dict[str, float]) -> dict[str, Any]:
    """Try a mutant on the tests in which its check fires; without any it survives."""
    if not tests:
        return {"killed": False, "by": "", "seconds": 0.0, "tests": 0}
    limit = 60 + 4 * sum(tests.values())
    return tested(folder, subject, limit, [*tests]) | {"tests": len(tests)}


def tested(
    folder: Path, subject: str, limit: float, names: Sequence[str] = (), plugin: Any = None
) -> dict[str, Any]:
    """Run tests for `limit` CPU-seconds at most; return the first failure.

    They are a subject's, or those of these names. With a plug-in all of them are run.
    """
    first, started = folder / ".first", time.monotonic()
    first.unlink(missing_ok=True)
    if not (pid := os.fork()):
        # Processor time: a busy machine kills no mutant. The wall limit is for a mutant that waits.
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
        _child(folder, subject, names, plugin or FirstFailure(first))
    ended = status = 0
    while not ended and time.monotonic() < started + 6 * limit:
        time.sleep(0.05)
        ended, status = os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # all that the tests started
    status = status if ended else os.waitpid(pid, 0)[1]
    by = first.read_text() if first.exists() else "import" if ended else "time"
    seconds = round(time.monotonic() - started, 1)
    return {"killed": status != 0, "by": by if status else "", "seconds": seconds}


def _child(folder: Path, subject: str, names: Sequence[str], plugin: Any) -> None:
    os.setsid()
    os.chdir(folder)
    for stream in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    sys.path[0] = str(folder)
    _, turns, words = SUBJECTS[subject]
    options = ["-q", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    options += ["-x"] if isinstance(plugin, FirstFailure) else []
    for files in [names] if names else [turn.split() for turn in turns]:
        if not (pid := os.fork()):
            chosen = [] if names else ["-k", words]
            os._exit(pytest.main([*files, *options, *chosen], [plugin]))
        if os.waitpid(pid, 0)[1]:
            os._exit(1)
    os._exit(0)


def rows(place: Path) -> list[dict[str, Any]]:
    """Return the results so far."""
    return [json.loads(line) for line in place.read_text().splitlines()] if place.exists() else []


def table(place: Path) -> None:
    """Print for each subject the share of killed mutants, and the mutants that survived."""
    test = importlib.import_module("scipy.stats").binomtest  # Clopper and Pearson 1934
    for subject in (*dict.fromkeys(row["subject"] for row in rows(place)), "all"):
        killed = [row["killed"] for row in rows(place) if subject in (row["subject"], "all")]
        low, high = test(sum(killed), len(killed)).proportion_ci(0.95, "exact")
        share = f"{sum(killed) / len(killed):.1%} ({low:.1%} to {high:.1%})"
        print(f"{subject:8}{len(killed):5} mutants {sum(killed):5} killed: {share}")
    explained = reasons()
    for row in (row for row in rows(place) if not row["killed"]):
        print(f"{row['file']}:{row['line']}: {row['before']} -> {row['after']}")
        if key(row) in explained:
            print(f"    {explained[key(row)]}")


if __name__ == "__main__":
    verb, *places = sys.argv[1:]
    if verb == "run":
        run(Path(places[0]), *places[1:])
    elif verb == "again":
        again(Path(places[0]), Path(places[1]))
    table(Path(places[verb == "again"]))
