"""From an image of the sky to the sources in it; see `docs/detect.md`."""
