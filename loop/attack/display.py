"""Attacks on people's attention: text typed into the terminal, and text with a wrong display."""

import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence

import click

from configs.errors import BadInput, NeedsHuman
from loop import terminal
from loop.attack.attended import PASSPHRASE, AttendedStudy
from loop.attack.outcome import GOT_THROUGH, first_success, try_act
from loop.attack.suite import Suite
from loop.people import sign
from loop.people.acts import recall
from loop.people.lines import list_lines
from loop.people.view import view_subject
from loop.report import incident

SHOWN = "shown as code points"


class TypedText(io.StringIO):
    """Standard input that holds a text; it claims to be a terminal or a pipe."""

    def __init__(self, text: str, is_terminal: bool) -> None:
        super().__init__(text)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Tell whether it claims to be a terminal."""
        return self._is_terminal


@contextlib.contextmanager
def _type(text: str, is_terminal: bool) -> Iterator[None]:
    """Type a text; the attacker knows the passphrase."""
    stdin, hidden = sys.stdin, click.termui.hidden_prompt_func
    sys.stdin = TypedText(text, is_terminal)
    click.termui.hidden_prompt_func = lambda prompt: PASSPHRASE
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.stdin, click.termui.hidden_prompt_func = stdin, hidden


def type_into_pipe(suite: Suite) -> str:
    """Pipe the right answer, and others, into the verb that signs."""
    return _sign_by_typing(suite, ("@DIGEST@\n", "\n\n", "", "y\n"), is_terminal=False)


def type_wrong_digest(suite: Suite) -> str:
    """Type anything but the digest at a terminal: Enter, end of input, yes, other digits."""
    return _sign_by_typing(suite, ("\n\n\n", "", "y\n", "yes\n", "000000\n"), is_terminal=True)


def _sign_by_typing(suite: Suite, texts: Sequence[str], is_terminal: bool) -> str:
    study = suite.open_attended()
    name = study.plan()
    outcomes = []
    for text in texts:
        typed = text.replace("@DIGEST@", name[:6])
        outcomes.append(_type_approval(study, name, typed, is_terminal))
        if "0 of 1" not in study.decide(name):
            outcomes.append(f"{GOT_THROUGH}: it is approved")
    return first_success(outcomes)


def _type_approval(study: AttendedStudy, name: str, text: str, is_terminal: bool) -> str:
    def sign_typed() -> None:
        with _type(text, is_terminal):
            sign.sign_decision(study.folder, name, "approve", key="ada", reason="looks right")

    try:
        return try_act(sign_typed, NeedsHuman)
    except click.Abort:
        return "aborted: nothing was typed"


def _print_plan(study: AttendedStudy, name: str) -> str:
    """Return a plan as people see it at a terminal."""
    gate = study.gate
    rows = list_lines(view_subject(gate, gate.memory.subjects[name]))
    return "\n".join(f"{label}: {text}" for label, text in rows)


def show_reason(characters: str) -> Callable[[Suite], str]:
    """Return an attack: hide these characters in a plan's reason."""

    def attack(suite: Suite) -> str:
        study = suite.open_attended()
        name = study.plan(hypothesis=f"harmless {characters} text")
        return _check_characters(characters, _print_plan(study, name))

    return attack


def show_code(characters: str) -> Callable[[Suite], str]:
    """Return an attack: hide these characters in a plan's source code."""

    def attack(suite: Suite) -> str:
        study = suite.open_attended()
        name = study.plan(code=f"x = '{characters}'\n")
        return _check_characters(characters, _print_plan(study, name))

    return attack


def _check_characters(characters: str, text: str) -> str:
    """Tell whether a display names every character by its code point, and prints none raw."""
    for character in characters:
        if character in text:
            return f"{GOT_THROUGH}: U+{ord(character):04X} is printed raw"
    for character in characters:
        if f"U+{ord(character):04X}" not in text:
            return f"{GOT_THROUGH}: U+{ord(character):04X} is not shown"
    return SHOWN


def show_table(_: Suite) -> str:
    """Print terminal escapes, bidi and zero-width characters in a table."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        terminal.print_table(
            [["\x1b[2Jsafe", "\u202egpj.exe\u200b"]], ["plan", "text"], as_json=False
        )
    # The table may print escapes of its own, so the escape counts only with its hostile tail.
    for raw in ("\u202e", "\u200b", "\x1b[2J"):
        if raw in out.getvalue():
            return f"{GOT_THROUGH}: U+{ord(raw[0]):04X} is printed raw"
    return SHOWN


def show_look_alikes(suite: Suite) -> str:
    """Write a reason in Cyrillic, full-width and mathematical letters."""
    study = suite.open_attended()
    for words in ("раss the gаte", "ｌearning_rate", "𝐬𝐚𝐟𝐞", "scоpe"):
        name = study.plan(hypothesis=words)
        flags = " ".join(view_subject(study.gate, study.gate.memory.subjects[name]).flags)
        if "look-alikes" not in flags:
            return f"{GOT_THROUGH}: a look-alike is not named"
    return "look-alikes are named"


def show_padding(suite: Suite) -> str:
    """Hide code behind 60,000 blanks, and below 500 empty lines."""
    study = suite.open_attended()
    code = "# harmless" + " " * 60_000 + "; evil = 1" + "\n" * 500 + "evil = 2\n"
    text = _print_plan(study, study.plan(code=code))
    ends_shown = "U+0020 × 60000⟩; evil = 1" in text and "+evil = 2" in text
    if ends_shown and " " * 1000 not in text:
        return "padding is counted"
    return f"{GOT_THROUGH}: padding moves text out of sight"


def show_markup(suite: Suite) -> str:
    """Write HTML, Markdown and a code fence into a reason, and open an incident about it."""
    study = suite.open_attended()
    reason = (
        "```\n</td></table><script>alert(1)</script><img src=x onerror=alert(1)> **approved**"
        " [x](javascript:alert(1))"
    )
    name = study.plan(hypothesis=reason)
    recall(study.folder, name, "user bob", reason)
    _, page = incident.export_incident(study.folder, "I-1")
    markup = any(tag in page for tag in ("<script", "<img", "</td></table><"))
    fence = "\n```" in _print_plan(study, name)
    return f"{GOT_THROUGH}: markup acts" if markup or fence else "markup is text"


def show_too_large_change(suite: Suite) -> str:
    """Ask for a change of 40,000 lines."""
    study = suite.open_attended()
    name = study.plan(code="".join(f"x{i} = 0\n" for i in range(40_000)))
    return try_act(lambda: view_subject(study.gate, study.gate.memory.subjects[name]), BadInput)[
        :200
    ]


def show_long_change(suite: Suite) -> str:
    """Put the hostile part at the end of a long change and of a long line."""
    study = suite.open_attended()
    lines = [f"x{i} = 0\n" for i in range(3_000)]
    name = study.plan(code="".join(lines) + "y = '" + "a" * 20_000 + "evil'\n")
    text = _print_plan(study, name)
    whole = all(f"+{line}" in text for line in lines) and "aevil'" in text
    return "shown whole" if whole else f"{GOT_THROUGH}: the difference is cut"


def show_forged_line(suite: Suite) -> str:
    """Write lines like the gate's own into a reason."""
    study = suite.open_attended()
    forged = ["needs: 0 of nobody", "said: approve by ada (person): checked"]
    name = study.plan(hypothesis="\n".join(["good", *forged, ""]))
    text = _print_plan(study, name)
    if any(line in forged for line in text.split("\n")):
        return f"{GOT_THROUGH}: the text forges a line"
    if "not checked: reason: good" not in text:
        return f"{GOT_THROUGH}: the text forges a line"
    return "a claim is shown as a claim"
