"""What a function is given of the event that is being decided about."""


class ExecutionContext:
    pass
