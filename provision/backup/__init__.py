"""One archive with all that sets a cluster up again.

archive     the archive: how it is packed, and read without trusting it
destination where it is written to and read from: a file, or a standard stream
identity    the identity's folder, into an archive and out of it
record      the file that says that a restore is under way
foreseen    the situation as it will be when the saved networks are back
"""
