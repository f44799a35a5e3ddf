"""ATen operations as steps whose results can be bounded."""
