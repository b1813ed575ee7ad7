"""From outputs to detections, and how good they are."""
