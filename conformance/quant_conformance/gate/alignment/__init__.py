"""Which tensor of a file is which of the recorded model's."""
