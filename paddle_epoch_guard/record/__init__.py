"""What happened in a run: typed events, the file that holds them, and what turns each logged loss into them."""
