"""Verdicts on a file."""
