"""What has happened? The ledger folded into facts, and the summary for programs.

Begin with `facts.py`. `scores.py` says which scores may be shown, `summary.py` and `oversight.py`
write summary.json, and `nearest.py` finds weights that are copies of others.
"""
