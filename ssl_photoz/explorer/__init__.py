"""A local web page on a run: the map, any galaxy, its look-alikes, verdicts.

`run` finds and reads the artefacts that belong together, `galaxies` says what the page shows,
`unpack` and `uploads` take in a cutout file that nobody vouches for, and `app` decides which
requests are answered and wires them to addresses.
"""
