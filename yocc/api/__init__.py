"""What the commands do, as functions: one file each."""
