"""A folder for the path of a child Python, which imports `sitecustomize` from it."""
