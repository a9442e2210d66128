"""Who proposes? The table of proposers, and their view of the past.

Begin with `table.py`, then `ask.py`.
"""
