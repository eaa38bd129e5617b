"""Jumps of the loss at change points, their causes, and the trend of a curve. Needs numpy only."""
