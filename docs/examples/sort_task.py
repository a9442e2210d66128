"""A task of one's own: sort five digits. `items()` yields every item once, the same ones whenever
it is asked.

heirloop task check docs/examples/sort_task.py --unattended task.planned_cpu_us=500000
task.seed_deviation=0.13 heirloop run task=custom task.file=docs/examples/sort_task.py
task.planned_cpu_us=500000 task.seed_deviation=0.13 study.name=sorting
"""

import itertools

QUESTION = 5
"""Columns of a question."""
ANSWER = 5
"""Columns of an answer."""
VALUES = 8
"""Distinct values of a column; each cell is a whole number from 0 to VALUES - 1."""


def items():
    """Rows of QUESTION + ANSWER columns: five values, then the same in order."""
    return [[*row, *sorted(row)] for row in itertools.product(range(VALUES), repeat=QUESTION)]
