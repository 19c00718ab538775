"""A local web page on a run: the map, any galaxy, its look-alikes, verdicts.

`run` finds the artefacts that belong together, `stored` reads them, `galaxies` says what the page
shows, `unpack` and `uploads` take in a cutout file that nobody vouches for, `guards` decides which
requests are answered at all, and `app` wires them to addresses.
"""
