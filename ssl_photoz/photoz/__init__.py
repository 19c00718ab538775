"""Redshifts from embeddings: probes, metrics, figures."""
