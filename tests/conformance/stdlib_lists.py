"""Lists of the standard library beside ours, over the same blocks."""

from multiprocessing import resource_tracker, shared_memory

from tests.unit.memory.lists import Lists

resource_tracker.ensure_running()  # it stays, with its pipe: started before a test counts the open files


class BothLists(Lists):
    """Makes lists of both kinds, and removes them all at the end."""

    def theirs(self, values):
        made = shared_memory.ShareableList(values)
        self.close_all.callback(made.shm.unlink)
        self.close_all.callback(made.shm.close)
        return made

    def theirs_over(self, other):
        """The tracker is told to forget the name again: the block is the other's."""
        made = shared_memory.ShareableList(name=other.shm.name)
        self.close_all.callback(made.shm.close)
        resource_tracker.unregister(made.shm._name, "shared_memory")
        return made

    def pair(self, values, creator):
        """Ours and theirs over the same block, made by `creator`, which is "ours" or "theirs"."""
        if creator == "ours":
            ours = self.ours(values)
            return ours, self.theirs_over(ours)
        theirs = self.theirs(values)
        return self.ours_over(theirs), theirs
