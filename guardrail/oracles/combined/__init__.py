"""Several oracles as one: votes, and a cheap oracle before an expensive one."""
