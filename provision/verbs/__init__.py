"""The verbs: each takes a Session and returns a Report. What they share is in session.py."""
