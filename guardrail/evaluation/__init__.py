"""What a policy achieves on requests of a known kind: forbidden ones stopped, clean ones passed.

A decision speaks of one request, calibration of an oracle. This speaks of a population of requests
that the operator names, by asking guard, model and oracle together about a sample of it.
"""
