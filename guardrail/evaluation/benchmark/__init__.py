"""A guarded model on labelled data: what it passes and stops, what that costs, what it is worth.

`labelled_set.py` reads the rows, `deciding.py` decides each of them as in service and asks the bare
model beside it, `evaluation.py` adds up, `evaluate.py` is the whole run and what Python calls.
"""
