"""A worker takes over the environment of the process that starts it."""

import os

from pardata.process.environment import take_environment


def test_variables_that_are_the_same_are_not_set_again(monkeypatch):
    class Environment(dict):
        changed = []  # noqa: RUF012

        def __setitem__(self, name, value):
            self.changed.append(name)
            super().__setitem__(name, value)

        def __delitem__(self, name):
            self.changed.append(name)
            super().__delitem__(name)

    present = Environment(same="1", other="2", gone="3")
    monkeypatch.setattr(os, "environ", present)
    take_environment({"same": "1", "other": "0", "new": "4"})
    assert present == {"same": "1", "other": "0", "new": "4"} and present.changed == ["gone", "other", "new"]
