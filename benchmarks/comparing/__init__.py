"""The benchmark of comparisons: its simulated pairs of runs, and its real ones."""
