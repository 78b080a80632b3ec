"""What several processes of the server keep together: in Redis, or in a folder of one machine."""
