"""What an operator looks at in the first hour: each part of a server examined by itself."""
