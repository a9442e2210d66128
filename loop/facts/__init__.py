"""What has happened? The ledger folded into facts, the summary for programs, and the nearest weights.

Begin with `facts.py`.
"""
