"""How does each tool write its log? One reader each; `table.py` reads every table of text.

They run in the confined child, on the standard library alone.
"""
