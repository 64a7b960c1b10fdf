"""A token is the right to have one more batch in flight: never lost, never doubled, whoever dies."""

import pytest

from pardata.channel.channel import socket_pair
from pardata.channel.tokens import Retirer, TerminalSpec, Tokens, TokenSpec
from pardata.channel.window import Window

CELLS = 3


class Run:
    """A source and the workers of its terminals; `terminals` says how many each has."""

    def __init__(self, segment, terminals, cells=CELLS):
        self.segment = segment
        retired_at = [[4096 * (1 + 10 * t + w) for w in range(workers)] for t, workers in enumerate(terminals)]
        self.spec = TokenSpec(Window(cells, cells), 0, retired_at)
        self.pairs = [[socket_pair() for _ in places] for places in retired_at]
        self.retirers = {}
        for terminal, workers in enumerate(terminals):
            for worker in range(workers):
                self.replace_terminal(terminal, worker)
        self.replace_source()

    def replace_source(self):
        """A new source process: it knows what the words say."""
        self.tokens = Tokens(self.spec, self.segment, [source for pairs in self.pairs for source, _ in pairs])

    def replace_terminal(self, terminal=0, worker=0):
        """A new process of a terminal."""
        at = self.spec.retired_at[terminal][worker]
        spec = TerminalSpec(0, self.spec.cells, at)
        self.retirers[terminal, worker] = Retirer(spec, self.segment, self.pairs[terminal][worker][1])

    def retire(self, cell, number, terminal=0, worker=0):
        """Retire a token and tell the source."""
        retirer = self.retirers[terminal, worker]
        retirer.retire(cell, number)
        retirer.flush()
        self.receive()

    def receive(self):
        for sock in self.tokens.socks:
            self.tokens.receive(sock)

    def take_all(self, first=0):
        """Take tokens until there are none; return {number: cell}."""
        taken = {}
        while self.tokens.has_free:
            number = first + len(taken)
            taken[number] = self.tokens.take(number)
        return taken

    def close(self):
        for pairs in self.pairs:
            for pair in pairs:
                for sock in pair:
                    sock.close()
        vars(self).clear()


@pytest.fixture
def make_run(segment):
    made = []

    def make(*terminals, cells=CELLS):
        made.append(Run(segment, terminals or (1,), cells))
        return made[-1]

    yield make
    for run in made:
        run.close()


@pytest.fixture
def run(make_run):
    return make_run()


def test_there_are_as_many_tokens_as_cells(run):
    assert len(set(run.take_all().values())) == CELLS
    assert not run.tokens.has_free
    assert run.tokens.in_flight == CELLS


def test_token_that_was_retired_is_free(run):
    taken = run.take_all()
    run.retire(taken[1], 1)
    assert run.tokens.in_flight == CELLS - 1
    assert run.tokens.take(3) == taken[1]


def test_token_that_is_retired_twice_is_free_once(run):
    taken = run.take_all()
    run.retire(taken[1], 1)
    run.retire(taken[1], 1)
    assert list(run.take_all(3).values()) == [taken[1]]


def test_late_retirement_does_not_free_the_next_holder(run):
    taken = run.take_all()
    run.retire(taken[1], 1)
    run.tokens.take(3)
    run.retire(taken[1], 1)
    assert not run.tokens.has_free


def test_token_is_free_when_every_terminal_has_retired_it(make_run):
    run = make_run(1, 2)
    taken = run.take_all()
    run.retire(taken[0], 0, terminal=0)
    assert not run.tokens.has_free
    run.retire(taken[0], 0, terminal=1, worker=1)
    assert run.tokens.has_free


def test_any_worker_of_a_terminal_may_retire_a_token(make_run):
    run = make_run(3)
    number = 0
    for worker in (0, 1, 2, 1, 0, 2):
        taken = run.take_all(number)
        for at, cell in taken.items():
            run.retire(cell, at, worker=worker)
        number += len(taken)
        assert run.tokens.in_flight == 0


def test_many_retirements_fit_into_the_socket(make_run):
    run = make_run(cells=512)
    taken = run.take_all()
    assert len(taken) == 512
    retirer = run.retirers[0, 0]
    for _ in range(3):
        for number, cell in taken.items():
            retirer.retire(cell, number)
    retirer.flush()
    run.receive()
    assert run.tokens.in_flight == 0


# -- the source dies ---------------------------------------------------------------------------------------------------


def test_successor_of_the_source_has_as_many_tokens_left(run):
    taken = {number: run.tokens.take(number) for number in range(2)}
    run.replace_source()
    assert run.tokens.in_flight == 2
    assert set(run.take_all(2).values()) == set(range(CELLS)) - set(taken.values())


def test_successor_finds_the_token_that_was_taken_for_a_batch(run):
    cell = [run.tokens.take(number) for number in range(2)][1]
    run.replace_source()
    assert run.tokens.holder(1) == cell
    assert run.tokens.holder(2) is None
    assert run.tokens.in_flight == 2


def test_token_that_is_free_again_is_no_holder(run):
    cell = run.tokens.take(0)
    run.retire(cell, 0)
    run.replace_source()
    assert run.tokens.holder(0) is None
    assert run.tokens.in_flight == 0


def test_retirement_that_came_while_no_source_was_there_counts(run):
    taken = run.take_all()
    run.retirers[0, 0].retire(taken[2], 2)
    run.retirers[0, 0].flush()
    run.replace_source()
    assert list(run.take_all(3).values()) == [taken[2]]
    run.receive()  # the message is still in the socket
    assert not run.tokens.has_free


def test_retirement_that_died_with_the_source_counts(run):
    taken = run.take_all()
    run.retirers[0, 0].retire(taken[2], 2)
    run.retirers[0, 0].flush()
    assert run.tokens.socks[0].recv(1000)
    run.replace_source()
    assert list(run.take_all(3).values()) == [taken[2]]


# -- a terminal dies ---------------------------------------------------------------------------------------------------


def test_successor_of_a_terminal_may_retire_again(run):
    taken = run.take_all()
    run.retire(taken[0], 0)
    run.replace_terminal()
    run.retire(taken[0], 0)
    assert run.tokens.in_flight == CELLS - 1
    run.retire(taken[1], 1)
    assert run.tokens.in_flight == CELLS - 2


def test_newer_retirement_of_a_dead_terminal_is_not_undone(run):
    taken = run.take_all()
    run.retire(taken[0], 0)
    run.tokens.take(3)
    run.retire(taken[0], 3)
    run.replace_terminal()
    run.retirers[0, 0].retire(taken[0], 0)
    run.retirers[0, 0].flush()
    run.replace_source()
    assert run.tokens.in_flight == CELLS - 1


def test_retirement_that_a_dead_terminal_had_not_told_counts(run):
    taken = run.take_all()
    run.retirers[0, 0].retire(taken[0], 0)
    run.replace_terminal()
    run.retirers[0, 0].resume()
    run.retirers[0, 0].flush()
    run.receive()
    assert run.tokens.in_flight == CELLS - 1
