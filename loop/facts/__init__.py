"""What has happened? The ledger folded into facts, and the summary for programs.

Begin with `facts.py`; `reader.py` keeps facts up to date. `scores.py` knows the open scores,
`summary.py` and `oversight.py` write summary.json, and `nearest.py` finds copied weights.
"""
