"""Running, feeding and measuring models: backends, calibration sources, detection metrics."""
