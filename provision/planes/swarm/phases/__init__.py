"""The phases of this control plane."""
