"""The mutants as data, a module for each part of SPEC.md."""
