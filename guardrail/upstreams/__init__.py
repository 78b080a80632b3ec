"""Ways to reach a vision-language model, one file each."""
