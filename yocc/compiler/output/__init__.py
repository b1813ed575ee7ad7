"""The output folder: exchanged in one step, whatever happens to the process."""
