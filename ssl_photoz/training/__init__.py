"""Training of encoders: the engine, MoCo, and losses that see labels."""
