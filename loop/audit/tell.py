"""The page of an audit: a line each for what the log can say, and for what it cannot."""

from collections.abc import Iterable

from configs.records.trials import TrialLog
from evals.intervals import Figure
from loop.audit.measure import Audit
from loop.text import write_number

KINDS = {
    "autoresearch": "a results.tsv of autoresearch",
    "openevolve": "a checkpoint of OpenEvolve",
    "shinka": "a database of ShinkaEvolve",
    "wandb": "an export of W&B",
    "csv": "a CSV of trials",
}


def list_answers(audit: Audit) -> Iterable[tuple[str, str]]:
    """Yield each line of the page: its name, and its figure with a sentence."""
    yield "log:", describe_log(audit.log, audit.direction)
    for line in audit.lines:
        figure = "" if line.whole else write_figure(line.figure)
        yield f"{line.name}:", f"{figure} {line.text}" if figure else line.text
    for note in audit.log.notes:
        yield "note:", note


def describe_log(log: TrialLog, direction: str) -> str:
    """Return what kind of log it is and where better scores lie."""
    side = "larger" if direction == "up" else "smaller"
    return f"{KINDS[log.format]}; score {log.metric}, {side} is better"


def write_figure(figure: Figure) -> str:
    """Return value, range and unit; an empty text for a figure without a value."""
    if figure.value is None or figure.word == "cannot tell":
        return ""
    count = figure.low is None and figure.value == int(figure.value) and not figure.word
    value = str(int(figure.value)) if count else write_number(figure.value)
    if figure.word == "at least":
        value = f"at least {value}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({write_number(figure.low)} to {write_number(figure.high)})"
