"""What do others get of a study? Tables, a list of redactions, and a proof; also the tracker.

Begin with `write.py`. `tables.py` names every column, `fill.py` reads the rows from the ledger,
`verify.py` checks an export without the run.
"""
