"""Certificates: signed, judged and written. Which authorities and leaves there are, a control plane says."""
