"""Objects that pickle, and cannot be unpickled."""

import os


class Fine:
    """Can be loaded."""

    def __init__(self, number):
        self.number = number


def refuse(number):
    """Raise: what reads it back is not there."""
    raise ValueError(f"cannot make {number} again")


class WithoutConstructor:
    """Is made again by a call that raises."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return refuse, (self.number,)


class WithState(Fine):
    """Does not take its state back."""

    def __getstate__(self):
        return {"number": self.number}

    def __setstate__(self, state):
        raise KeyError("layout")


class WithArguments(Exception):
    """Wants more arguments than it passes on."""

    def __init__(self, number, text):
        super().__init__(number)
        self.text = text


class Gone:
    """Its class can be imported by who sends it only."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return _Lookup(os.getpid()), ()


class _Lookup:
    """Found in one process."""

    def __init__(self, owner):
        self.owner = owner

    def __reduce__(self):
        return getattr, (_Lookup, "missing")

    def __call__(self):
        return None


def of_parts(part):
    """Refuse another thing in place of a part, with an error that says nothing of the part's own."""
    return part.number


class OfParts:
    """Is made again of a part that cannot be loaded."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return of_parts, (WithoutConstructor(self.number),)


HOW = {
    "its constructor raises": WithoutConstructor,
    "its state is refused": WithState,
    "it wants more arguments": lambda number: WithArguments(number, "x"),
    "its class is gone": Gone,
    "a part of it is gone": OfParts,
}
