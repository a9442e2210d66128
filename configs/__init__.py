"""What people decided, and the words that every folder shares.

Standard library only: these files are copied into a bundle and read inside a box. They refuse what
is unknown, mistyped, negative or not finite, with one sentence that names the field.
"""
