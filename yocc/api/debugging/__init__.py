"""Finding which pass, then which layer, ruins a model: `yocc debug`."""
