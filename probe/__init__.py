"""Programs that need only embeddings: redshift, similarity, dwarfs, map, report, demo."""
