"""MoCo: the queue, the momentum pair, the Lightning module, and its health."""
