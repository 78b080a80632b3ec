"""The built-in vision-language model: its world, its words, its weights and how it was trained."""
