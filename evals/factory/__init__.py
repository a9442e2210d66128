"""A factory's service: what clients expect of it, what they got, and what a line of layers is
worth.

Begin with scenarios.py, the scripted clients, and desk.py, which plays them and the real clients.
"""
