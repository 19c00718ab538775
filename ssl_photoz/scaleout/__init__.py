"""Beyond one machine: tiles of the sky as units of work, run here, on Dask or on a cluster."""
