"""Random graphs of streams on a cluster in this process, which loses nodes and doubles answers: what serial gives."""

import hypothesis
import hypothesis.strategies as st

from tests.property.graphs import graphs
from tests.property.test_engines_property import outcome
from tests.unit.cluster.fake_port import FakeCluster


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(graphs(without=("routed",)), st.sets(st.integers(1, 12), max_size=2))
def test_lost_nodes_and_doubled_answers_change_nothing(graph, lost_at):
    steps, known = graph

    def on_call(port, node, number):
        if len(port.calls) in lost_at:
            port.lose(node)

    made = outcome(steps, known, FakeCluster(on_call=on_call, twice=True))
    expected = outcome(steps, known, "serial")
    assert made[:2] == expected[:2]
    assert lost_at or made == expected  # what is done again counts again
