"""What a user did, a record holds or a backend met that cannot work: shown as one line."""


class InputError(ValueError):
    """A flag or file that cannot be used; the message names it and says what would be right."""


class BackendError(RuntimeError):
    """What runs the network failed: a device without enough memory, a process that was killed."""


class RecordError(InputError):
    """One record of a database that cannot be used; the others can.

    Attributes:
        reason: what is wrong with it, with the numbers, without the record's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
