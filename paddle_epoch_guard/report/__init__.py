"""Reports on a run, from its logs: figures, the report page, and VisualDL's server."""
