"""What the Core AI backend and executor share: programs from numpy, run in a child process.

Nothing here imports Core AI in the judging process: ``worker`` does, in a process of its own.
"""
