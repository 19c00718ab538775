"""Nearby dwarfs: scores, probabilities, candidate lists, and whom to look at next."""
