"""Self-supervised embeddings of galaxy cutouts.

Pixels become an encoder, the encoder makes embeddings, and redshifts, look-alikes,
dwarf candidates and maps need only the embeddings::

    cutouts.h5 --pretrain--> encoder/ --embed--> embeddings/ --+--probe--> probe/ --predict--> table
                                                               +--index--> index/ --query, dwarfs
                                                               +--map----> map/
"""

__version__ = "0.1.0"
