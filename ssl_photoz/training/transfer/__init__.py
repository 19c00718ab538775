"""Redshifts learnt on one survey, for another: the same sky through other eyes, and no labels."""
