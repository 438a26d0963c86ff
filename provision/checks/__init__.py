"""Checks: one small function each. A check says what it saw, or what is wrong."""
