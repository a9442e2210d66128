"""A gate of your own: it can add a no to any decision on a plan, and never a yes.

    heirloop run gates.file=docs/examples/size_gate.py study.name=small-nets

It must give the same answer whenever it is asked about the same plan: `heirloop verify` asks it
again.
"""

MOST_WIDTH = 64
"""Widest net that is trained."""
MOST_CLAIM = 0.5
"""A proposer that promises more than this is not believed."""


def gate(plan, change_class):
    """Return why the plan must not pass, or an empty text. `plan` is the plan as plain data;
    `change_class` what is decided on.
    """
    if plan["purpose"] == "baseline":
        return ""
    if plan["recipe"]["width"] > MOST_WIDTH:
        return f"a net of width {plan['recipe']['width']} is wider than {MOST_WIDTH}"
    if (plan["predicted_gain"] or 0) > MOST_CLAIM:
        return f"the proposer promises {plan['predicted_gain']:g}, which nobody should believe"
    return ""
