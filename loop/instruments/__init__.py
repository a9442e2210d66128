"""What was achieved? Closure, loss and amplification, computed from recorded runs.

Begin with `measure.py`, which joins the instruments of an arm (`arm.py`) and between arms
(`between.py`). `run.py` reads a ledger, and `gather.py` gathers the records of a study's runs.
"""
