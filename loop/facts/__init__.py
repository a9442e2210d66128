"""What has happened? The ledger folded into facts, and the summary for programs.

Begin with `facts.py`; `nearest.py` finds weights that are copies of others.
"""
