"""Who proposes, and from which facts? The table of proposers and the history they see.

Begin with `table.py`, then `ask.py`.
"""
