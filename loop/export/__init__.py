"""What do others get? Tables, redaction, verification of an export, the tracker.

Begin with `write.py`.
"""
