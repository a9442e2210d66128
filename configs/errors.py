"""The exception tree. Every error of ours is one sentence: what was wrong, the value, what would be
right.
"""

FULL = (
    "the disk that holds the run is full or failing; free some space, and the same command goes on"
    " where it was"
)


class HeirloopError(Exception):
    """Base of all errors that a user may see. `exit_code` is what the command line returns."""

    exit_code = 1


class BadInput(HeirloopError):
    """Configuration, proposal or argument that breaks its schema."""

    exit_code = 2


class NeedsHuman(HeirloopError):
    """A gate has no decision that allows the next step."""

    exit_code = 3


class Denied(NeedsHuman):
    """A reviewer said no to this plan; where the loop can go on without it, it does."""


class BudgetExhausted(HeirloopError):
    """A reservation would pass a limit; nothing was reserved."""

    exit_code = 4


class Stopped(HeirloopError):
    """The study was paused or stopped by a person or a signal."""

    exit_code = 5


class Paused(Stopped):
    """One arm cannot go on, such as one whose outside model does not answer; the other arms do."""


class VerificationFailed(HeirloopError):
    """Recorded bytes do not prove what they should."""

    exit_code = 6


class BadEntry(VerificationFailed, BadInput):
    """An entry of a ledger that is no record of its kind."""


class NoBox(HeirloopError):
    """No usable box on this machine; there is no unsandboxed retry."""

    exit_code = 7
