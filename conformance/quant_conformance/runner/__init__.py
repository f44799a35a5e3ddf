"""Ask one backend one case, whatever happens: a crash, a hang and nonsense are outcomes."""
