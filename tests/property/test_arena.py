"""The allocator against a model: whatever is reserved, dropped, trimmed and taken over, blocks stay apart."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pardata.errors import CapacityError
from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.budget import LIVE, RESERVED, Budget
from pardata.memory.gaps import size_class
from pardata.memory.segment import HUGE_PAGE_BYTES, PAGE_BYTES, Segment

SPAN = Span(1 << 30, 24 * HUGE_PAGE_BYTES)
CAPACITY_BYTES = SPAN.size_bytes - HUGE_PAGE_BYTES
SIZES = st.one_of(st.integers(0, 3 * PAGE_BYTES), st.integers(0, 5 * HUGE_PAGE_BYTES))


class ArenaMachine(RuleBasedStateMachine):
    """Every live block is filled with a number of its own, which must be there as long as the block is."""

    blocks = Bundle("blocks")
    limit_bytes = None
    kept_bytes = None

    def __init__(self):
        super().__init__()
        self.segment = Segment.create()
        self.live = {}  # number: (offset, extent)
        self.held = {}  # number: a view of the block
        self.count = 0
        self.start()

    def start(self):
        words = SPAN.words(self.segment)
        budget = None if self.limit_bytes is None else Budget(self.limit_bytes, [words], ["worker"])
        self.arena = Arena(self.segment, SPAN, HEADER_BYTES, budget, "worker", self.live.values(), self.kept_bytes)

    @rule(target=blocks, nbytes=SIZES)
    def reserve(self, nbytes):
        before = self.arena.statistics()
        try:
            block = self.arena.reserve(nbytes)
        except CapacityError:
            assert self.arena.statistics()["live_bytes"] == before["live_bytes"]
            return None
        assert block.nbytes >= nbytes
        assert block.extent_bytes == size_class(nbytes)
        self.count += 1
        number = self.count
        block[:1] = block[-1:] = number % 251
        self.live[number] = (block.offset, block.extent_bytes)
        self.held[number] = block[:]
        return number

    @rule(number=consumes(blocks))
    def drop(self, number):
        if number is not None:
            self.check(number)
            del self.held[number], self.live[number]

    @rule(number=blocks)
    def keep_another_view_only(self, number):
        if number in self.held:
            self.held[number] = self.held[number][::-1][::-1]

    @rule()
    def trim(self):
        self.arena.trim()
        assert self.arena.statistics()["free_bytes"] == 0

    @rule()
    def die(self):
        """All blocks are out on lease: a successor takes them over."""
        held = self.held
        self.start()
        self.held = {number: self.arena.adopt(*block)[:] for number, block in self.live.items()}
        held.clear()

    def check(self, number):
        view = self.held[number]
        assert view[0] == view[-1] == number % 251

    @invariant()
    def live_blocks_are_apart_aligned_and_within_the_span(self):
        position = SPAN.offset + HUGE_PAGE_BYTES
        for offset, extent in sorted(self.live.values()):
            assert offset >= position
            assert offset % (HUGE_PAGE_BYTES if extent >= HUGE_PAGE_BYTES else PAGE_BYTES) == 0
            position = offset + extent
        assert position <= SPAN.offset + SPAN.size_bytes

    @invariant()
    def live_blocks_keep_their_contents(self):
        for number in self.held:
            self.check(number)

    @invariant()
    def counts_are_right(self):
        statistics = self.arena.statistics()
        words = SPAN.words(self.segment)
        assert statistics["live_bytes"] == words[LIVE] == sum(extent for _, extent in self.live.values())
        assert statistics["free_bytes"] == words[RESERVED] - words[LIVE] >= 0

    @invariant()
    def gaps_are_sorted_apart_and_all_that_is_not_reserved(self):
        self.arena.collect()
        gaps = self.arena._gaps.ranges
        ends = [start + size for start, size in gaps]
        assert all(size > 0 for _, size in gaps)
        assert all(end < start for end, (start, _) in zip(ends, gaps[1:], strict=False)), "neighbours are one gap"
        assert sum(size for _, size in gaps) + SPAN.words(self.segment)[RESERVED] == CAPACITY_BYTES

    @invariant()
    def limit_is_kept(self):
        if self.limit_bytes is not None:
            assert SPAN.words(self.segment)[RESERVED] <= self.limit_bytes

    @invariant()
    def no_more_is_kept_than_may_be(self):
        if self.kept_bytes is not None:
            statistics = self.arena.statistics()
            assert statistics["free_bytes"] <= max(self.kept_bytes, statistics["live_bytes"])

    def teardown(self):
        self.held.clear()
        self.segment.close_fd()
        vars(self.arena).clear()
        vars(self.segment).clear()


class ArenaWithinALimit(ArenaMachine):
    limit_bytes = 9 * HUGE_PAGE_BYTES


class ArenaOfTheMainProcess(ArenaMachine):
    kept_bytes = 3 * HUGE_PAGE_BYTES
    die = None  # it has no successor


SETTINGS = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestArena = ArenaMachine.TestCase
TestArena.settings = SETTINGS
TestArenaWithinALimit = ArenaWithinALimit.TestCase
TestArenaWithinALimit.settings = SETTINGS
TestArenaOfTheMainProcess = ArenaOfTheMainProcess.TestCase
TestArenaOfTheMainProcess.settings = SETTINGS
