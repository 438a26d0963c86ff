"""The verbs, one file each. Each takes a Session and returns a Report. session.py and steps.py have what they share."""
