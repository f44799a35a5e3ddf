"""Every model of the zoo through every configuration, mode and target, to a file and back."""
