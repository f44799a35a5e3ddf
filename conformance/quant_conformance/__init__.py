"""The suite that judges a quantization backend against the frozen vectors."""
