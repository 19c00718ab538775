"""Backbones, the stretch in front of them, and the encoder artefact."""
