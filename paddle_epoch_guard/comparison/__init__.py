"""Which of two runs is better, once the data that they drew is taken out of it."""
