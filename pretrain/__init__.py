"""Programs that need pixels: simulate, inspect, moco, embed."""
