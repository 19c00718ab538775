"""Look-alikes from embeddings: index, query, dwarf candidates, map."""
