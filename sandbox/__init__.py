"""The reference monitor: which acts are allowed?

No other folder starts a process for a plan, or spends. Begin with run.py, the way to a box.
"""
