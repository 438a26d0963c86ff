"""The suites of `verify`. A check has the name of its function."""
