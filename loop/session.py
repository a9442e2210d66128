"""Run a whole study: its campaigns side by side, orders from outside, signals, and its end.

A study killed at any instant goes on with the same command. Begin with `execute`.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from configs.arms import START
from configs.entries import EndEntry, PauseEntry, SessionEntry, WarningEntry
from configs.errors import HeirloopError, Interrupted, Paused, Stopped, VerificationFailed
from configs.settings.config import Config
from evals.claims import warning
from loop.accord.keep import Keeper
from loop.campaign import Campaign, Say
from loop.course import finish_campaign, run_campaign, run_start_trial
from loop.export import track
from loop.export.write import mirror_tables
from loop.facts.facts import Facts, fold_entries
from loop.instruments.closure import read_events
from loop.instruments.gains import read_skills
from loop.instruments.run import Run
from loop.people import advice
from loop.people.send import Caller
from loop.propose.table import study_asks_outside
from loop.report import make
from loop.review import review_by_model
from loop.study.box import describe_fall_back, explain_missing_tcp
from loop.study.open import open_study
from loop.study.running import Running
from loop.terminal import print_error
from loop.verify.run import record
from sandbox import control, incident, stop_file, tripwires
from sandbox.call import key
from sandbox.gate import Gate, Halted
from sandbox.ledger import Ledger

Publish = Callable[[Ledger, Facts, Path], dict[str, Any]]
"""Write the documents of a run for people and programs; return its summary."""
Act = Callable[[int | None], None]
"""Do a part of the study's work on a core."""
View = Callable[[Running], AbstractContextManager[Say]]
"""Show a run while it goes on; the context gives the function for printing a line."""


def _show_nothing(_: Running) -> AbstractContextManager[Say]:
    return nullcontext(lambda text: None)


def execute(
    config: Config, publish: Publish = make.summarize, view: View = _show_nothing
) -> dict[str, Any]:
    """Run a study; return its summary. Raises the reason for stopping; all records stay.

    `publish` runs at each end and each interruption. A stopped study writes the summary alone. The
    default does so too, since drawing the report costs more than a small study.
    """
    _need_key(config)
    running = open_study(config, lean=True)
    _refuse_stopped(running)
    mirror = track.make(config.tracker, config.study.name, running.folder, running.root)
    started = time.monotonic()
    try:
        with view(running) as say, _signals(running), _watched(running), _calling(running):
            running.say = say
            _tell_fall_back(running, say)
            _run_campaigns(running, say)
            review_by_model(running, say)
        _heed_warning(running)
        if not running.facts().closed:
            running.ledger.append(EndEntry(reason="every campaign ended"))
    except HeirloopError as error:
        if isinstance(error, VerificationFailed):
            record(running.folder, str(error))
        if not _lost_ledger(running):
            advice.advise(error, running.gate, running.folder)
            running.ledger.append(PauseEntry(reason=str(error)[:300], exit_code=error.exit_code))
        raise
    finally:
        running.sandbox.box.close()
        if not _lost_ledger(running):
            wall_seconds = round(time.monotonic() - started, 3)
            running.ledger.append(SessionEntry(wall_seconds=wall_seconds))
            running.checkpoint()
            # The loop's own facts are lean; documents need all facts.
            facts = fold_entries(running.ledger.entries())
            # A stopped loop ends at once: `heirloop report` draws the report of what it left.
            stopped = running.gate.refresh().memory.halt == "stop"
            write = make.summarize if stopped else publish
            summary = write(running.ledger, facts, running.folder)
            _mirror(running, mirror, summary)
    return summary


def _lost_ledger(running: Running) -> bool:
    """Tell whether the ledger is not the loop's own any more; then nothing is written to it."""
    return isinstance(running.unwatched, VerificationFailed)


def _need_key(config: Config) -> None:
    """Raise, before anything is written, where an outside model's key is missing or misplaced."""
    if config.proposer.llm and study_asks_outside(config):
        key(config.proposer.llm)


def _refuse_stopped(running: Running) -> None:
    if stop_file.is_there(running.folder) or running.gate.refresh().memory.halt == "stop":
        running.sandbox.box.close()
        error = Stopped("the study is stopped")
        error.advice = advice.to_resume(running.folder)
        raise error


def _tell_fall_back(running: Running, say: Say) -> None:
    """Say why box=auto took another box than people expect, and why agents have no TCP port."""
    if reason := getattr(running.sandbox.box, "fell_back", ""):
        say(describe_fall_back(reason))
    if reason := explain_missing_tcp(running.config):
        say(reason)


def _calling(running: Running) -> AbstractContextManager[None]:
    """Call people about waiting requests, through a gate of its own."""
    return Caller(Gate(running.ledger, running.store), running.folder).calling()


def _run_campaigns(running: Running, say: Say) -> None:
    """Run the trials of the start, then every campaign, then the measures of skill."""
    study = running.config.study

    def on(step: Callable[[Campaign], None], arm: str, repeat: int) -> Act:
        return lambda core: step(Campaign(running, arm, repeat, core, say))

    trials = [
        on(partial(run_start_trial, number=number), START, repeat)
        for repeat in range(study.repeats)
        for number in range(study.start_trials)
    ]
    _run_side_by_side(running, trials)
    for step in (run_campaign, finish_campaign):
        campaigns = [
            on(step, arm, repeat)
            for repeat in range(study.repeats)
            for arm in running.config.arms()
        ]
        _run_side_by_side(running, campaigns)


def _run_side_by_side(running: Running, acts: Sequence[Act]) -> None:
    """Do the study's work, as many jobs at a time as may run, each on a core of its own.

    The first error stops the others; a paused arm does not. After a stop nothing begins.
    """

    def heed(act: Act, core: int | None) -> None:
        if running.stopped:
            raise Interrupted("the study was stopped")
        try:
            act(core)
        except Paused:
            raise
        except BaseException:
            running.stopped = True
            raise

    running.workers.run([partial(heed, act) for act in acts])


def _heed_warning(running: Running) -> None:
    """Read the warning sign once, when every campaign has ended.

    Crossed, it pauses the study and raises Halted until people resume it.
    """
    sign = running.config.study.warning
    if sign is None:
        return
    read_before = any(entry.kind == WarningEntry.kind for entry in running.ledger.entries())
    why = "the warning sign is crossed"
    if not read_before:
        run = Run(0, running.ledger)
        reading = warning(sign, tuple(read_skills(run)), tuple(read_events(run, "self")))
        entry = WarningEntry(parts=reading)
        if entry.sign == "crossed":
            improves = f"{why}: the loop improves its own improving"
            tripwires.pause(running.gate, "warning sign", improves, why, entry)
        else:
            running.ledger.append(entry)
    if running.gate.refresh().memory.halt == "pause":
        running.wait(Halted(why, "pause"))


def _mirror(running: Running, mirror: track.Track, summary: dict[str, Any]) -> None:
    """Copy the summary's rounded feedback, and the tables of a finished study, to the tracker."""
    rows = _list_feedback(running, summary)
    closed = running.facts().closed
    reason = track.mirror(mirror, rows, lambda: mirror_tables(running.ledger) if closed else {})
    if reason:
        print_error(reason)


def _list_feedback(running: Running, summary: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the best rounded feedback of each generation."""
    best_of = max if running.config.objective.direction == "up" else min
    for row in summary["generations"]:
        scores = [plan["shown"] for plan in row["plans"] if plan["shown"] is not None]
        if scores:
            label = f"{row['arm']}/best feedback"
            yield {"generation": row["index"], label: best_of(scores)}


@contextmanager
def _signals(running: Running) -> Iterator[None]:
    """Obey signals while the study runs, and give them back to the process afterwards.

    Ctrl-C ends the process, and the same command goes on. SIGTERM is an order to stop, to be lifted
    by people.
    """

    def end(number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM:
            running.ordered = "SIGTERM"
        _stop(running)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched(running: Running) -> Iterator[None]:
    """Obey orders from outside while the loop is busy: a file STOP, `heirloop stop`, SIGTERM.

    A study that cannot be watched is stopped, and the reason is raised.
    """
    done, ledger = threading.Event(), running.ledger
    first, keeper = ledger.database.identity(), Keeper(running.gate)
    keeper.keep()

    def watch() -> None:
        try:
            while not done.wait(0.1):
                _need_same(first, ledger, running.folder)
                keeper.keep()
                _obey(running)
        except Exception as error:
            running.unwatched = error
            _stop(running)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if running.unwatched:
            raise _tell_unwatched(running, running.unwatched)
        if running.ordered:
            control.order(running.ledger, "stop", f"signal {running.ordered}", "")


def _need_same(first: object, ledger: Ledger, folder: Path) -> None:
    """Raise VerificationFailed where another file or table took the place of the ledger."""
    try:
        same = first == ledger.database.identity()
    except (OSError, VerificationFailed):
        same = False
    if not same:
        raise VerificationFailed(
            f"the ledger of {folder} was replaced or taken away while the study ran; nothing is"
            " written to it"
        )


def _tell_unwatched(running: Running, error: Exception) -> HeirloopError:
    """Record the stop of a study that could not be watched; return the error to raise."""
    if isinstance(error, VerificationFailed):
        incident.report_outside(running.root, running.folder, str(error))
        return error
    reason = f"orders from outside could not be followed ({error}); the study is stopped"
    with suppress(Exception):
        control.order(running.ledger, "stop", "the watch for orders", reason)
    return error if isinstance(error, Stopped) else Stopped(reason)


def _stop(running: Running) -> None:
    running.stopped = True
    running.sandbox.box.stop()


def _obey(running: Running) -> None:
    gate = running.gate
    if stop_file.is_there(running.folder) and gate.refresh().memory.halt != "stop":
        control.order(running.ledger, "stop", "file STOP", stop_file.read_reason(running.folder))
    if gate.refresh().memory.halt == "stop" and not running.stopped:
        _stop(running)
