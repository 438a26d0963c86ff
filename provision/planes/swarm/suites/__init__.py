"""The checks of `verify` that only this control plane has."""
