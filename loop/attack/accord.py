"""Attacks on an accord: a party computes in its window, or shows something else than it did."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import plain
from configs.entries import BeatEntry, StartEntry
from configs.errors import BadInput, HeirloopError, VerificationFailed
from loop.accord import acts, evidence, terms
from loop.accord.evidence import Evidence
from loop.accord.terms import Signed
from loop.attack.outcome import GOT_THROUGH, try_act
from loop.attack.parties import MEETINGS, SINCE, UNTIL, Parties, set_clock
from loop.attack.suite import Suite
from sandbox import intoto, keys
from sandbox.canonical import canonical
from sandbox.heads import open_ledger


def broken(act: Callable[[Parties, Signed, float], None]) -> Callable[[Suite], str]:
    """Return an attack: both sides meet as agreed, and `act` comes after each meeting."""

    def attack(suite: Suite) -> str:
        with set_clock():
            parties = Parties(suite)
            signed = parties.agree()

            def play() -> str:
                for seconds in MEETINGS:
                    parties.meet(signed, seconds)
                    act(parties, signed, seconds)
                return parties.judge(signed)

            try:
                return play()
            except HeirloopError as error:
                return str(error)

    return attack


def _compute_within(parties: Parties, signed: Signed, seconds: float) -> None:
    if seconds == 290:
        parties.at(300)
        parties.compute()


start_within = broken(_compute_within)


def show_other_accord(suite: Suite) -> str:
    """Keep a pause, sign another one, and show the evidence of the first for the second."""
    with set_clock():
        parties = Parties(suite)
        first = parties.agree()
        for seconds in MEETINGS:
            parties.meet(first, seconds)
        kept = parties.shown[parties.theirs]
        parties.start += timedelta(seconds=UNTIL + 60)
        second = parties.agree()
        parties.shown.clear()
        for seconds in MEETINGS:
            parties.meet(second, seconds)
        parties.shown[parties.theirs] = kept
        return try_act(lambda: parties.judge(second), VerificationFailed)


def show_old_heads(suite: Suite) -> str:
    """Go dark in the middle, and show the last evidence again and again."""
    with set_clock():
        parties = Parties(suite)
        signed = parties.agree()
        for seconds in MEETINGS[:3]:
            parties.meet(signed, seconds)
        old = parties.shown[parties.theirs]
        parties.at(MEETINGS[3] - 1)
        acts.beat(parties.ours, signed, [old])
        answers = []
        for seconds in MEETINGS[3:]:
            parties.at(seconds)
            answers.append(try_act(lambda: acts.beat(parties.ours, signed, [old]), BadInput))
            acts.beat(parties.ours, signed)
        parties.shown[parties.ours] = evidence.read(acts.give_evidence(parties.ours, signed))
        return f"{parties.judge(signed)}; {answers[-1]}"


def wrong_clock(behind: bool) -> Callable[[Suite], str]:
    """Return an attack: a clock that shows the time before or after the window, and a job."""

    def attack(suite: Suite) -> str:
        with set_clock():
            parties = Parties(suite)
            signed = parties.agree()
            for seconds in MEETINGS:
                wrong = min(seconds, SINCE - 1) if behind else UNTIL + seconds
                turned = seconds < UNTIL and (behind or seconds > SINCE)
                parties.meet(signed, seconds, wrong if turned else None)
                if seconds == 290:
                    parties.at(wrong)
                    parties.compute()
            return parties.judge(signed)

    return attack


def keep_second_ledger(suite: Suite) -> str:
    """Compute in a copy of the run while the run itself is quiet; go on in the copy."""
    with set_clock():
        parties = Parties(suite)
        signed = parties.agree()
        for seconds in MEETINGS[:3]:
            parties.meet(signed, seconds)
        copy = parties.theirs.with_name("copy")
        open_ledger(parties.theirs).close()
        shutil.copytree(parties.theirs, copy)
        for seconds in MEETINGS[3:]:
            parties.meet(signed, seconds)
        parties.at(300)
        with _forgotten(copy):
            acts.beat(copy, signed)
            hidden = evidence.read(acts.give_evidence(copy, signed))
        return parties.judge(signed, hidden)


@contextlib.contextmanager
def _forgotten(folder: Path) -> Iterator[None]:
    """Open a copy of a run under a home that knows the study's secret and none of its heads."""
    home, known = keys.home(), os.environ["HEIRLOOP_HOME"]
    shutil.copytree(home / "secrets", folder / "home" / "secrets")
    os.environ["HEIRLOOP_HOME"] = str(folder / "home")
    try:
        yield
    finally:
        os.environ["HEIRLOOP_HOME"] = known


def go_dark(suite: Suite) -> str:
    """Say nothing more after the first meeting within the window."""
    with set_clock():
        parties = Parties(suite)
        signed = parties.agree()
        for seconds in MEETINGS[:2]:
            parties.meet(signed, seconds)
        silent = parties.shown[parties.theirs]
        for seconds in MEETINGS[2:]:
            parties.at(seconds)
            acts.beat(parties.ours, signed)
        parties.shown = {
            parties.ours: evidence.read(acts.give_evidence(parties.ours, signed)),
            parties.theirs: silent,
        }
        return parties.judge(signed)


def cut_end(suite: Suite) -> str:
    """Show evidence that ends before what the other side heard."""
    with set_clock():
        parties = Parties(suite)
        signed = parties.agree()
        shown = list[Evidence]()
        for seconds in MEETINGS:
            parties.meet(signed, seconds)
            shown.append(parties.shown[parties.theirs])
        parties.shown[parties.theirs] = shown[-2]
        return parties.judge(signed)


def sign_late(suite: Suite) -> str:
    """Sign within the window, as if it had been agreed before."""
    with set_clock():
        parties = Parties(suite)
        parties.at(0)
        proposed = parties.propose()
        parties.at(SINCE + 40)
        refused = try_act(lambda: acts.sign(parties.theirs, proposed.envelope), BadInput)
        statement = intoto.read(proposed.envelope, terms.PREDICATE)
        key = keys.signer(parties.other.running.secret)
        signed = terms.read(intoto.sign(statement, key, proposed.envelope))
        acts.record(parties.theirs, signed)
        acts.sign(parties.ours, signed.envelope)
        for seconds in MEETINGS[1:]:
            parties.meet(signed, seconds)
        return f"{parties.judge(signed)}; {refused}"


def _shrink_statement(parties: Parties, signed: Signed, seconds: float) -> None:
    if seconds == MEETINGS[-1]:
        (path,) = (parties.theirs / "accord").glob("compute-*")
        payload = keys.payload_unchecked(path.read_bytes())
        payload["since"] = payload["until"]
        path.write_bytes(keys.sign(payload, keys.signer(parties.other.running.secret), "compute"))
        shown = evidence.read(acts.give_evidence(parties.theirs, signed))
        parties.shown[parties.theirs] = shown


state_other_window = broken(_shrink_statement)


def _misquote(parties: Parties, signed: Signed, seconds: float) -> None:
    if seconds == 290:
        last = parties.shown[parties.ours].last
        assert last
        (_, beat), *_ = reversed(list(parties.shown[parties.theirs].beats()))
        heard = replace(beat.heard[0], sequence=last.sequence + 1, head="0" * 64)
        with contextlib.closing(open_ledger(parties.theirs)) as theirs:
            theirs.append(BeatEntry(accord=signed.digest, heard=(heard,)))


misquote = broken(_misquote)


def change_terms(suite: Suite) -> str:
    """Change a term after both signed, or sign for both sides with one key."""
    with set_clock():
        parties = Parties(suite)
        signed = parties.agree()
        shorter = replace(signed.accord.terms[0], until=signed.accord.terms[0].since)
        sooner = replace(signed.accord.terms[0], since=terms.write_time(parties.start))
        answers = []
        for term in (shorter, sooner):
            changed = replace(signed.accord, terms=(term, *signed.accord.terms[1:]))
            envelope = json.loads(signed.envelope)
            statement = intoto.read(signed.envelope, terms.PREDICATE)
            statement["predicate"] = plain(changed)
            key = Ed25519PrivateKey.generate()
            envelope["payload"] = json.loads(intoto.sign(statement, key))["payload"]
            answers.append(try_act(partial(terms.read, canonical(envelope)), VerificationFailed))
        return next((text for text in answers if GOT_THROUGH in text), answers[-1])


def hide_start(suite: Suite) -> str:
    """Leave the entry of a start out of the evidence."""
    with set_clock():
        parties = Parties(suite)
        signed = parties.agree()
        for seconds in MEETINGS:
            parties.meet(signed, seconds)
            _compute_within(parties, signed, seconds)
        shown = json.loads(acts.give_evidence(parties.theirs, signed))
        shown["entries"] = [row for row in shown["entries"] if row["kind"] != StartEntry.kind]

        def read() -> str:
            parties.shown[parties.theirs] = evidence.read(canonical(shown))
            return parties.judge(signed)

        answer = try_act(read, VerificationFailed)
        return answer if "window not shown" not in answer else answer.partition(": ")[2]
