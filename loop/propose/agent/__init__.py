"""An agent of people's own at work: the doors at which it asks. Begin with `doors.py`."""
