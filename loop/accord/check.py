"""Was an accord kept? Checked by either side, or by a third, from files alone.

Files show what was recorded and signed. They are evidence of silence and no proof: work outside a
ledger leaves nothing in it. Each rule names one way in which the files can tell of a breach.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from configs.build import plain
from configs.entries import AccordEntry, Entry, lines_of
from configs.errors import VerificationFailed
from loop.accord.case import (
    Case,
    Finding,
    is_over,
    list_heads,
    list_terms,
    sum_spent,
    time_of_head,
    write_moment,
)
from loop.accord.evidence import Evidence, goes_back, time_of
from loop.accord.terms import Term
from loop.facts import statement

STARTS = ("start", "call", "replay")
"""Kinds of entries with which something is computed."""
HOUR = timedelta(hours=1)


def find_misquotes(case: Case) -> Iterator[Finding]:
    """What a party says that it heard is signed by the other, and has the other's own time."""
    times = {e.hash: e.time for own in case.evidence.values() for e in own.entries}
    for study, own in case.evidence.items():
        for entry, beat in own.beats():
            for heard in beat.heard:
                if not case.is_signed(heard) or times.get(heard.head, heard.time) != heard.time:
                    text = f"entry {entry.sequence} says that it heard what the other never signed"
                    yield Finding(study=study, rule="misquoted head", text=text)


def find_late_signature(case: Case) -> Iterator[Finding]:
    """A party must have signed before its window begins."""
    for term, _ in list_terms(case):
        if own := case.evidence.get(term.study):
            times = [
                time_of(entry)
                for entry, fact in lines_of(own.entries, AccordEntry)
                if fact.digest == case.digest and term.study in fact.signed
            ]
            if text := tell_late(term, times):
                yield Finding(study=term.study, rule="signed late", text=text)


def tell_late(term: Term, times: Sequence[datetime]) -> str:
    """Say that a party signed too late, by the times of its signatures; empty: it did not."""
    if times and min(times) <= term.window[0]:
        return ""
    when = f"at {min(times).isoformat()}" if times else "nowhere in its evidence"
    return f"it signed {when}, and its window begins at {term.since}"


def find_starts(case: Case) -> Iterator[Finding]:
    """Nothing starts in a stop or a pause, and no more than agreed in any hour of a slow."""
    for term, _ in list_terms(case):
        if text := tell_starts(term, case.within(term)):
            yield Finding(study=term.study, rule="start", text=text)


def tell_starts(term: Term, within: Iterable[Entry]) -> str:
    """Say how the facts within a window break its term by what they start; empty: they do not."""
    starts = [entry for entry in within if entry.kind in STARTS]
    if term.what != "slow" and starts:
        return (
            f"{len(starts)} starts within its window, the first at {starts[0].time}"
            f" (entry {starts[0].sequence})"
        )
    times = sorted(time_of(entry) for entry in starts)
    ahead = (bisect_left(times, time + HOUR) - n for n, time in enumerate(times))
    most = max(ahead, default=0)
    if term.what == "slow" and most > term.per_hour:
        return f"{most} starts within an hour, and at most {term.per_hour} were agreed"
    return ""


def find_missing_heads(case: Case) -> Iterator[Finding]:
    """Within a window a fresh head reaches the other side often enough, as that side recorded."""
    most = timedelta(seconds=case.accord.heads_seconds + case.accord.clock_seconds)
    for term, _ in list_terms(case):
        first, last = term.window
        horizon = case.ends(case.accord.other(term.study).study)
        if horizon is None or horizon <= first:
            continue
        fresh = [at for at, heard in case.arrivals(term.study) if at - time_of_head(heard) <= most]
        inside = [at for at in fresh if first < at < min(last, horizon)]
        begin = [first, *inside]
        end = [*inside, min(last, horizon)]
        for one, two in zip(begin, end, strict=True):
            if two - one > most:
                text = (
                    f"no fresh head of it was heard from {write_moment(one)} to"
                    f" {write_moment(two)}, and one every {case.accord.heads_seconds} s was agreed"
                )
                yield Finding(study=term.study, rule="missing head", text=text)
                break


def find_clocks(case: Case) -> Iterator[Finding]:
    """Nobody hears a head before it was written: a beat is no earlier than the head that it
    names. So neither side's clock runs behind or ahead by more than was agreed.
    """
    most, told = timedelta(seconds=case.accord.clock_seconds), set[str]()
    for study, own in case.evidence.items():
        for entry, beat in own.beats():
            for heard in beat.heard:
                if study not in told and time_of(entry) + most < time_of_head(heard):
                    told |= {study, heard.study}
                    apart = (time_of_head(heard) - time_of(entry)).total_seconds()
                    text = (
                        f"the clocks disagree by {apart:.0f} s: entry {entry.sequence} of"
                        f" {study[:12]} is of {entry.time}, and names a head of {heard.study[:12]}"
                        f" of {heard.time}"
                    )
                    yield from (
                        Finding(study=one, rule="clock", text=text) for one in (study, heard.study)
                    )


def find_disorder(case: Case) -> Iterator[Finding]:
    """The times of a chain never go back."""
    for study, own in case.evidence.items():
        if entry := goes_back(own.segments):
            text = f"its time goes back at entry {entry.sequence} ({entry.time})"
            yield Finding(study=study, rule="time goes back", text=text)


def find_second_ledgers(case: Case) -> Iterator[Finding]:
    """A study has one history: no two of its heads tell of the same entry otherwise."""
    known = dict[tuple[str, int], str]()
    told = set[str]()
    for study, number, name in list_heads(case):
        if known.setdefault((study, number), name) != name and study not in told:
            told.add(study)
            text = (
                f"two ledgers: entry {number} is {name[:12]}, and also {known[study, number][:12]}"
            )
            yield Finding(study=study, rule="second ledger", text=text)


def find_cut_ends(case: Case) -> Iterator[Finding]:
    """A party's evidence reaches as far as the heads of it that the other side heard."""
    for study, own in case.evidence.items():
        last = max(own.heads, default=0)
        heard = case.arrivals(study)
        if heard and heard[-1][1].sequence > last:
            text = f"the other side heard its entry {heard[-1][1].sequence}, and it shows {last}"
            yield Finding(study=study, rule="cut end", text=text)


def find_statements(case: Case) -> Iterator[Finding]:
    """A compute statement of a window says what the entries of the window add up to."""
    for term, _ in list_terms(case):
        own = case.evidence.get(term.study)
        text = _compare_statement(case, term, own) if own and is_over(case, term) else ""
        if text:
            yield Finding(study=term.study, rule="compute statement", text=text)


def _compare_statement(case: Case, term: Term, own: Evidence) -> str:
    for envelope in own.compute:
        try:
            content = statement.check(envelope.encode(), own.public)
            (run,) = content["runs"]
            total, bounds = content["total"], (content["since"], content["until"])
        except (VerificationFailed, ValueError, KeyError, TypeError) as error:
            return f"a compute statement does not hold: {error}"
        if bounds != (term.since, term.until) or run["study"] != term.study:
            continue
        if total != plain(sum_spent(case.within(term))):
            return "its compute statement says something else than the entries of its window"
        return ""
    return f"no compute statement of {term.since} to {term.until} is among its evidence"


def find_gaps(case: Case) -> Iterator[Finding]:
    """Whoever shows an end beyond its window shows the window whole."""
    for term, _ in list_terms(case):
        ends, window = case.ends(term.study), case.window(term)
        if ends and ends > term.window[1] and not is_over(case, term):
            from_to = f"{window[0].time} to {window[-1].time}" if window else "nothing"
            text = f"its window is not shown whole: the evidence holds {from_to} of it"
            yield Finding(study=term.study, rule="window not shown", text=text)


Rule = Callable[[Case], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    find_misquotes,
    find_late_signature,
    find_starts,
    find_missing_heads,
    find_clocks,
    find_disorder,
    find_second_ledgers,
    find_cut_ends,
    find_gaps,
    find_statements,
)
"""Every way in which files can show a breach."""


def find_breaches(case: Case) -> list[Finding]:
    """Return every breach that the files show, in the order of the rules."""
    return [finding for rule in RULES for finding in rule(case)]


def describe(case: Case, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return a row of each term: what the files show of it, in figures and a word.

    The words are `broken`, `silent` (nothing against it, and the window shown whole) and `not
    shown yet`.
    """
    rows = []
    for term, name in list_terms(case):
        broken = [one for one in findings if one.study == term.study]
        within = case.within(term)
        word = "silent" if is_over(case, term) else "not shown yet"
        other = case.accord.other(term.study).study
        if (ends := case.ends(other)) is None or ends < term.window[1]:
            word = "not shown yet"  # nobody tells whether its heads came in time
        rows.append(
            {
                "study": name,
                "owes": f"{term.what} {term.per_hour}" if term.per_hour else term.what,
                "from": term.since,
                "to": term.until,
                "starts": sum(entry.kind in STARTS for entry in within),
                "CPU-seconds charged": round(sum_spent(within).cpu_us / 1e6, 3),
                "heads heard": sum(
                    term.window[0] <= at <= term.window[1] for at, _ in case.arrivals(term.study)
                ),
                "files show": "broken" if broken else word,
            }
        )
    return rows
