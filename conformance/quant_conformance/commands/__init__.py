"""The commands of the command line, each of which reads its options and calls one function."""
