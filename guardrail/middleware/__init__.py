"""The guard without a server: the same engine and the same wire, called in this process."""
