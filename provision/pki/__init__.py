"""Certificates: sign, verify and write them. Each control plane has its own authorities and leaves."""
