"""Does the loss jump at a change point, and why? And the trend of a curve. Needs numpy only."""
