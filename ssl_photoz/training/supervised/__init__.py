"""Networks trained on redshifts end to end: the rivals of a frozen embedding."""
