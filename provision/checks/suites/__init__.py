"""The suites of the proof, a file each. A check registers itself under the name of its function."""
