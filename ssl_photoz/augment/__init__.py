"""Augmentations of whole batches of flux, on any device."""
