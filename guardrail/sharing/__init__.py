"""What several processes of the server keep together, in Redis."""
