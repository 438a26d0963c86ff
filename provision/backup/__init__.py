"""A cluster's own data in one archive: written while the cluster runs, and read when it is set up anew."""
