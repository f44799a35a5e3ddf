"""The gate: does an exported file do what the prepared model does, tensor by tensor?

A prepared model is run once and recorded: every operation, and every quantizer with what it saw.
The file that was exported from it is then cut at its quantizers and run, each region on the
recorded inputs, and each result is held to what correct arithmetic can produce (clauses ADM-*).

This package's top imports no framework.
"""
