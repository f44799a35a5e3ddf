"""A recorded model as a vector set."""
