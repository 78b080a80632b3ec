"""The wire without HTTP: requests are read, decided and replied to as values and bytes."""
