"""What counts? Held-out items, scores, verdicts, and the instruments; pure functions over records.

Begin with `score.py` and `judge.py`; the instruments rest on `arms.py` and `intervals.py`. Answers
never leave this side.
"""
