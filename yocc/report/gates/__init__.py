"""The limits a compressed model must stay within: gates on the figures of a report, pure functions of its content."""
