"""Who proposes, and from what? The table of proposers and the history they see.

Begin with `table.py`, then `ask.py`.
"""
