"""Views of a run's events: VisualDL, TensorBoard, W&B, and the lines of the trainer's log."""
