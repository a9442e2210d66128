"""Attacks on an accord of two studies: a party computes in its window, or shows another past.

Each row runs in two studies of its own (`loop/attack/accord.py`).
"""

from evals.attacks.attack import Attack

PARTIES = (
    Attack(
        "P01",
        "start a job within the window of a pause",
        "ledger",
        "no start in a window",
        expect="^start by them",
        incident=True,
    ),
    Attack(
        "P01b",
        "leave the start out of the evidence",
        "ledger",
        "a signed head covers each entry",
        expect="no signed head covers|out of order|the chain breaks",
    ),
    Attack(
        "P02",
        "show the evidence of another accord",
        "ledger",
        "evidence names its accord",
        expect="of another accord",
    ),
    Attack(
        "P02b",
        "show the same old evidence again",
        "ledger",
        "fresh heads are due",
        expect="^missing head by them.*heard before",
        incident=True,
    ),
    Attack(
        "P03",
        "compute with a clock that stands before the window",
        "ledger",
        "nobody hears a head before it was written",
        expect="clock by them: the clocks disagree",
        incident=True,
    ),
    Attack(
        "P03b",
        "compute with a clock that runs ahead of the window",
        "ledger",
        "nobody hears a head before it was written",
        expect="clock by them: the clocks disagree",
        incident=True,
    ),
    Attack(
        "P03c",
        "sign within the window, as if it had been agreed before",
        "ledger",
        "a signature lies before its window",
        expect="^signed late by them.*looks ahead alone",
        incident=True,
    ),
    Attack(
        "P04",
        "compute in a copy of the run, and go on with the copy",
        "ledger",
        "one history a study",
        expect="^second ledger by them",
        incident=True,
    ),
    Attack(
        "P04b",
        "show evidence that ends before what was heard",
        "ledger",
        "evidence reaches the heads that were heard",
        expect="^cut end by them",
        incident=True,
    ),
    Attack(
        "P05",
        "go dark within the window",
        "ledger",
        "fresh heads are due",
        expect="^missing head by them",
        incident=True,
    ),
    Attack(
        "P06",
        "state the compute of another time",
        "ledger",
        "a statement of each window",
        expect="^compute statement by them",
        incident=True,
    ),
    Attack(
        "P07",
        "say that the other side signed what it did not",
        "ledger",
        "quoted heads are signed",
        expect="^misquoted head by them",
        incident=True,
    ),
    Attack(
        "P08",
        "change a term after both signed",
        "gate",
        "signatures of both over the terms",
        expect="signed by none of its parties",
    ),
)
