"""From an outcome to a verdict: bits compared, sums held to their bounds, known failures named."""
