"""The kinds of oracles of this package: one file each, named after its kind, with its options."""
