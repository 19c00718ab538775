"""Redshifts of galaxies from the embeddings of their images.

`estimator.PhotoZ` is the estimator that users meet, `metrics.score` says how good it is. A probe
is a class of `base.Probe`, in `regressors`, `knn`, `networks` or `blend`; `artefact.PROBES` lists
them. `density` has probability densities, `calibration` and `diagnostics` make and test them
honest; `label_sources`, `som` and `label_coverage` are about labels as they are, `distribution`
about n(z); `experiment` fits and scores all of that, `bias` corrects residuals that depend on
redshift.
"""
