"""Nuisances on whole batches of flux, on any device."""
