"""Catalogues of galaxies: whose columns are what, and which galaxies make a sample."""
