"""How does a study open? With its ledger, secret, store, box and gate.

Begin with `open.py`; `box.py` chooses the box, `own_files.py` loads people's own files.
"""
