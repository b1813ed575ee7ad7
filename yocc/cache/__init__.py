"""Results of earlier compilations, found by everything they depend on."""
