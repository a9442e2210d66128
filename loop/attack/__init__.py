"""Does it hold? Attacks on jobs, decisions, displays, the record and judging; and the doctor.

Begin with `run.py`: its table names the function of each attack. `host.py` and `suite.py` set the
attacked study up; each other file holds the attacks on one part. `doctor.py` proves the promises of
the boxes on this machine.
"""
