"""Networks trained on redshifts end to end, to compare with probes on frozen embeddings."""
