"""Which screened plan is confirmed: the best feedback score, then fewer weights, then the earlier one."""

from collections.abc import Sequence

from configs.records import Plan, Scores


def choose(screened: Sequence[tuple[str, Plan, Scores | None]]) -> str | None:
    """Return the digest of the plan to confirm, or None if no screening gave a score."""
    scored = [(name, plan, scores) for name, plan, scores in screened if scores is not None]
    if not scored:
        return None
    return max(scored, key=lambda row: (row[2].exact_match, -row[2].parameters, -row[1].index))[0]
