"""Look-alikes from embeddings, and maps of them.

`index` has the `Index`, built in memory; `index_building` builds and grows it on disk;
`index_types` chooses and trains its type, `index_faiss` searches, `index_files` knows the folder,
`reduction` makes the unit vectors.
`search` asks it about galaxies, which `catalogue` and `lists` find and `query` ranks; `montage`
draws the answers. `map` lays a whole store out, `map_files` writes that down.
"""
