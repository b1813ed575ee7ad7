"""Files that users name: what is read, and what is written."""
