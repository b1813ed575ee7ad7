"""Reading and writing files that users name."""
