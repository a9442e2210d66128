"""How does a factory line change, test, release, watch and roll back a service?

Begin with line.py: a campaign of such an arm, period by period.
"""
