"""Training a part of a network in torch, without labels."""
