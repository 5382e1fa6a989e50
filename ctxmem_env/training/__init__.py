"""Training of the packaged generators, on scenes that are rendered on the fly."""
