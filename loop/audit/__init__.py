"""What can be said of a loop that ran elsewhere? Its log is read, and nothing of it is believed.

Begin with `read.py`: it copies the log's files, and starts a child that may only read the copy.
`child.py` and `formats/` run in that child, after `confine.py`. `measure.py` computes the figures,
`tell.py` writes the page.
"""
