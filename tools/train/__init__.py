"""Training of the demo detector in PyTorch; needs the extra `yocc[torch]`."""
