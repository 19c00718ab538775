"""Parquet shards of embeddings, and the loop that fills them."""
