"""What do people read of a study? report.html, report.json, comparisons, an incident's page.

All of it is made from ledgers. Pages stand alone, are read offline, and load and run nothing.
Begin with `make.py`, then `tell.py`; `page.py` turns the records of `shape.py` into HTML.
"""
