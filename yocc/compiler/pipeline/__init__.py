"""What a pass is, what it is given, and how passes are run one after the other."""
