"""Checks: one small function each, which reports what it observed."""
