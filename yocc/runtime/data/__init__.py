"""What networks are fed: pictures, arrays, labels."""
