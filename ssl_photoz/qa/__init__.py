"""What an observer wants to know of cutouts before training on them, and what to leave out."""
