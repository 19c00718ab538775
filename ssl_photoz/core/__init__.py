"""What every room stands on: artefact cards, atomic files, configuration, errors, signals."""
