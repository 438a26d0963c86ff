"""A cluster that has lost its quorum, and hosts for good: who is left, what is lost, and who is kept."""
