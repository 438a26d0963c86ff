"""Values and contracts, without I/O: what every other room speaks of."""
