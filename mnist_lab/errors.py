"""What a command says instead of a traceback."""


class LabError(Exception):
    """Something cannot be done that was asked for; the message says why and what to do."""
