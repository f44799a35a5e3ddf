"""A prepared model, run once and written down."""
