"""The process that modifies itself: an archive of proposer programs. Begin with `archive.py`."""
