"""Core ML programs, evaluated on any machine: MIL operation by operation."""
