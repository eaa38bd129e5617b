"""Does the loss jump, and is it the data's doing? And the trend of a curve. numpy alone."""
