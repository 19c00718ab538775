"""Where an installation keeps the programs: ``pretrain``, ``probe`` and ``configs``.

In a checkout they are top-level folders, to be read from top to bottom, copied and hacked.
"""
