"""What stands behind the command line, apart from reading options: looking at models, and showing results."""
