"""The attack catalogue: each attack with its expected verdict.

An attack counts as stopped if nothing got through, its outcome matches the row, and the host is
unchanged. Each row names one defence. `tests/sandbox/test_attacks.py` removes that defence, and
the same attack must then succeed.
"""

from evals.attacks.attack import Attack
from evals.attacks.decisions import DECISIONS
from evals.attacks.doors import DOORS
from evals.attacks.jobs import JOBS
from evals.attacks.judging import JUDGING
from evals.attacks.parties import PARTIES
from evals.attacks.record import RECORD
from evals.attacks.selfmod import SELFMOD
from evals.attacks.service import SERVICE

ATTACKS: tuple[Attack, ...] = (
    *JOBS,
    *DOORS,
    *DECISIONS,
    *RECORD,
    *JUDGING,
    *SELFMOD,
    *PARTIES,
    *SERVICE,
)
