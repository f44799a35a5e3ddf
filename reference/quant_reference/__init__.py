"""The executable form of SPEC.md: formats, ranges, qparams and rounding in plain numpy."""
