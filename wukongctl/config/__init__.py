"""Recipe formats: typed models and the loading that reports every problem with its position."""
