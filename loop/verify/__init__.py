"""Does the record hold? Recompute chain, decisions and scores from bytes.

Begin with `run.py`; `decisions.py` takes every decision again.
"""
