"""One module per family or part of one; each has ``build(builder)``."""
