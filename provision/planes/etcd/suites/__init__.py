"""Checks of verify that hold in this plane only."""
