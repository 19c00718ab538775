"""Pixels in: readers, quality, sky split, apertures, the simulated survey, batches."""
