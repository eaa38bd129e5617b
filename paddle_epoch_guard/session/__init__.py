"""What becomes of a run between ``on_train_begin`` and ``on_train_end``."""
