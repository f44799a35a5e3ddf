"""A quantizer for PyTorch models: configure, prepare, calibrate or train, finalize, export."""
