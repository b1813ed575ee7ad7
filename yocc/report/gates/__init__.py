"""What a compressed model must keep to: gates on the figures of a report, pure functions of its content."""
