"""Tensor mathematics: no files, no state, no printing."""
