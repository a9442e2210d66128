"""What can an agent in its box ask for? Doors: Unix sockets that the trusted side serves.

Begin with `doors.py`; `porter.py` is the process that parses requests.
"""
