"""What can be known of a network and its activations; analyses return values and change nothing."""
