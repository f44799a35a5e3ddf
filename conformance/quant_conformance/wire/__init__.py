"""Questions and answers as bytes, for files and programs in any language (docs/wire.md)."""
