"""The decisions of people, and the words that every folder shares.

Standard library only: these files are copied into a bundle and read inside a box. They refuse
unknown, mistyped, negative and infinite values. The refusal is a sentence with the field's name.
"""
