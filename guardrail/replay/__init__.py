"""What another policy would have decided about recorded traffic, without new calls."""
