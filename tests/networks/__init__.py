"""Small networks to test with."""
