"""Programs from a catalogue to cutouts."""
