"""Measured runs of real engines, replayed through the engine model."""
