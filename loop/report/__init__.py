"""What a study leaves for people to read: report.html and report.json, the comparison of several
runs, and one incident's page.

All of it is derived from ledgers. Pages stand alone, are read offline, load nothing and run
nothing; model text is escaped.
"""
