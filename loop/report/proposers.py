"""Does the loop dismantle its own proposer? A table, a figure and a sentence."""

from typing import Any

from loop.instruments.proposers import measure_proposers
from loop.report.evidence import Index
from loop.report.measures import interval
from loop.report.shape import Line, Table, table
from loop.report.study import MeasuredStudy, finite
from loop.text import write_number

ENDS = ("value", "low", "high")


def list_proposers(study: MeasuredStudy, index: Index, name: str, unit: str) -> Table:
    """Return notebook share and proposed gain per arm and generation; empty without a notebook."""
    read = finite(measure_proposers(study.runs))
    rows, ledger = [], []
    for arm, generations in read["arms"].items() if read else ():
        for generation, share, gain in generations:
            cells = [figure[end] for figure in (share, gain) for end in ENDS]
            rows.append((arm, generation, *cells, share["n"], gain["n"], read["known"]))
            ledger.append(index.arm(arm, "scores"))
    return table("proposers", rows, ledger, name, unit=unit)


def tell_proposer(study: MeasuredStudy, index: Index) -> tuple[Line | None, bool]:
    """Return a sentence on the proposer of arm self, and whether an interval in it decides."""
    read = finite(measure_proposers(study.runs))
    if not read or "self" not in read["kept"] or not study.closed:
        return None, False
    kept, apart = read["kept"]["self"], read["apart"]
    parts, decided = list[str](), False
    if kept["value"] is not None:
        parts.append(
            f"the last champions of arm self give {_write(kept)} of the notebook share that the"
            " baseline gives"
        )
        decided = kept["word"] == ""
    if apart["value"] is not None:
        way = "less" if apart["value"] < 0 else "more"
        unit = interval(study, apart)[4]
        parts.append(
            f"their proposals gain {_write(apart, turn=apart['value'] < 0)} {unit} {way} than"
            " refit's, which the baseline's recipe writes"
        )
        decided = decided or apart["word"] == ""
    if not parts:
        return None, False
    text = f"The loop's own proposer: {'; '.join(parts)}."
    return Line(text=text, ledger=index.arm("self", "verdicts")), decided


def _write(figure: dict[str, Any], turn: bool = False) -> str:
    """Return value and interval; with `turn` of the opposite, so that less is a positive number."""
    sign, ends = (-1 if turn else 1), [figure["low"], figure["high"]]
    text = write_number(sign * figure["value"], ".3g")
    if None in ends:
        return f"{text} (no interval)"
    low, high = sorted(sign * end for end in ends)
    more = f", {figure['word']}" if figure["word"] else ""
    return f"{text} ({write_number(low, '.3g')} to {write_number(high, '.3g')}{more})"
