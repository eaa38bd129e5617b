"""The benchmark of the diagnosis: its curves, its peers and its groups of rows."""
