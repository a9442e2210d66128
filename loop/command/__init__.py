"""What can I type? One module per topic.

Begin with `main.py`.
"""
