"""The selection of the DESI redshift challenge: populations, cuts, photometry, spectra."""
