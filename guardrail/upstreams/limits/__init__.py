"""How one upstream may be used: calls in flight and a minute, fair order, and a breaker."""
