"""Frozen answers of the reference, and the loader that checks them before use."""
