"""What is written in a client's picture: read before the canvas, judged like a text of its own."""
