"""One file per judged system; none of them imports its system before it is constructed."""
