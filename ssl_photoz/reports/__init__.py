"""One HTML page about a run: what was run, how well it went, what it found."""
