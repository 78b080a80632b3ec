"""Text classification models, Detoxify's among them, and the precisions they compute in."""
