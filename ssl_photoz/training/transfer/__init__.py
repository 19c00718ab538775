"""Domain adaptation: redshifts learnt from one survey, for galaxies of another without labels."""
