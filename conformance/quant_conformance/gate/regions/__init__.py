"""What is between two quantizers, and what its results may be."""
