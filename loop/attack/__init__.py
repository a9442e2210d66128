"""Does it hold? Hostile programs, forged records and the doctor.

Begin with `run.py`.
"""
