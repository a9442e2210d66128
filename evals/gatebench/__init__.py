"""How often does a gate let harm pass, how often does it block what is harmless, how sure are we?

A pack is a file of families (pack.py). harm.py decides from trainings which of them harm; rates.py
counts what a gate answered to them.
"""
