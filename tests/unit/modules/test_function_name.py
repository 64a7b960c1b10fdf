"""The names of functions in errors and stages."""

import functools
from unittest import mock

from pardata.modules.function_name import function_name, innermost


class Holder:
    def __init__(self, func):
        self.func = func

    def __call__(self):
        return self.func()


class WithMethod:
    def func(self):
        return 1

    def __call__(self):
        return self.func()


def double(x):
    return 2 * x


def test_function_within_partials_and_objects_gives_the_name():
    assert function_name(double) == "double"
    assert function_name(functools.partial(functools.partial(double), 1)) == "double"
    assert function_name(Holder(functools.partial(double))) == "double"
    assert innermost(Holder(double)) is double


def test_object_that_holds_none_has_the_name_of_its_class():
    assert function_name(Holder("double")) == "Holder"
    assert function_name(WithMethod()) == function_name(WithMethod) == "WithMethod"
    assert function_name(mock.MagicMock()) == "MagicMock"
