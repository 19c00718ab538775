"""Redshifts whose mean residual does not depend on redshift: the steps of Lin et al. 2022."""
