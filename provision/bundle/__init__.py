"""Diagnostics of a run and of every node, in one archive without secrets.

redaction     text → text without secrets; every byte of an archive goes through it
collection    the diagnostics of each node (node/bundle.sh)
archive       texts → a .tar.gz, written completely or not at all
"""
