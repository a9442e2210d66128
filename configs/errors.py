"""The exception tree. Every error is a sentence: the mistake, the value, and a right value."""

FULL = (
    "the disk that holds the run is full or failing; free some space, and the same command goes on"
    " where it was"
)


class HeirloopError(Exception):
    """Base of all errors for users. `exit_code` is the command line's."""

    exit_code = 1
    advice = ""
    """clause with the commands that help, each in backquotes; loop/people/advice.py gives it to
    the errors of a run
    """

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}; {self.advice}" if self.advice else text


class BadInput(HeirloopError):
    """Configuration, proposal or argument that breaks its schema."""

    exit_code = 2


class NeedsHuman(HeirloopError):
    """A gate has no decision that allows the next step."""

    exit_code = 3
    question: tuple[str, str] = ("", "")
    "subject and class that wait for people; empty: the text says all"


class Lapsed(NeedsHuman):
    """The decision behind a plan has expired or was revoked; another decision renews it."""


class Denied(NeedsHuman):
    """A reviewer said no to this plan; where the loop can go on without it, it does."""


class BudgetExhausted(HeirloopError):
    """A reservation would pass a limit; nothing was reserved."""

    exit_code = 4
    short: tuple[str, ...] = ()
    "accounts with too little left"
    resource = ""
    "resource that they have too little of"


class Stopped(HeirloopError):
    """The study was paused or stopped by a person or a signal."""

    exit_code = 5


class Interrupted(Stopped):
    """The loop ended before its study, after a signal or an order."""


class Paused(Stopped):
    """An arm cannot go on: its outside model does not answer, for example. Other arms go on."""


class NoBaseline(Paused):
    """The baseline of a campaign left no score, so there is nothing to improve. Others go on."""


class VerificationFailed(HeirloopError):
    """Recorded bytes fail their proof."""

    exit_code = 6


class BadEntry(VerificationFailed, BadInput):
    """An entry of a ledger that is no record of its kind."""


class NoBox(HeirloopError):
    """No usable box on this machine; there is no unsandboxed retry."""

    exit_code = 7
