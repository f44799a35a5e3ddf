"""What every test folder shares: the hypothesis profiles."""

import os

from hypothesis import settings

# Numerics do not finish in a fixed time on a shared machine, hence no deadline. "ci" draws the same
# examples on every run; "explore" looks for new ones: HYPOTHESIS_PROFILE=explore make test
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
