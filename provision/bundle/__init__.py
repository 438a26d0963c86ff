"""What can be known of a run and of every node, in one archive to look at elsewhere, without a secret in it.

redaction     text → text without secrets; every byte of an archive goes through it
collection    what each node tells (node/bundle.sh), and the controller
archive       texts → a .tar.gz, whole under its name or not there
"""
