"""What a person reads afterwards: a run read back, its figures and its page; and VisualDL's server."""
