"""The tables of mutants, by chapter of SPEC.md."""
