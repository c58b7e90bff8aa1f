"""What cannot work: shown as one line, never as a traceback."""


class BackendError(RuntimeError):
    """What runs a network ended or ran out of memory; shown as one line, and no flag is wrong."""


class InputError(ValueError):
    """A flag or file that cannot be used; the message names it and says what would be right."""


class RecordError(InputError):
    """One record of a database that cannot be used; the others can.

    Attributes:
        reason: what is wrong with it, with the numbers, without the record's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
