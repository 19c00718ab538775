"""A simulated survey in the challenge file's layout; see `docs/simulated-survey.md`."""
