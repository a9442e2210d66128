"""What surrounds a person's own training program inside a box: see harness.py."""
