"""Cutouts of a catalogue, from the Legacy Surveys' cutout service or from coadds on disk."""
