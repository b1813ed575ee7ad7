"""Results kept by the hash of all they depend on."""
