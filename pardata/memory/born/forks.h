/* Forks: the one that goes on keeps its arrays to itself, and so does the child. See the head of `born.c`. */
static void give_up(const char *what) { /* to go on would let two processes write into one array */
    fprintf(stderr, "pardata: a fork could not be made safe: %s\n", what);
    abort();
}

static void make_private(Block *block) {
    off_t offset = (off_t)(block->at - segment);
    void *got = mmap((void *)block->at, block->extent, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, offset);
    if (got != (void *)block->at) give_up("an array's block cannot be mapped again");
    /* A page of such a mapping is the file's until somebody writes to it: so each is written to, by an addition of 0,
     * which disturbs no other thread. The file's pages may be used again then, though a child may live on. */
    for (size_t i = 0; i < block->extent; i += PAGE) __atomic_fetch_add((char *)block->at + i, 0, __ATOMIC_SEQ_CST);
    madvise((void *)block->at, block->extent, MADV_DONTDUMP);
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (off_t)block->extent);
    block->state = PRIVATE;
    private_bytes += block->extent;
}

static void before_fork(void) {
    pthread_mutex_lock(&lock);
    if (!on) return;
    on = 0;
    struct stat now;
    for (size_t i = 0; i < n_blocks; i++) {
        if (is_nursery && blocks[i].state == HANDED) blocks[i].state = STUCK; /* the child has the array, too: for ever */
        if (blocks[i].state != LIVE) continue;
        if (fstat(fd, &now) || now.st_ino != file.st_ino || now.st_dev != file.st_dev)
            give_up("the descriptor of the shared memory was closed");
        make_private(&blocks[i]);
    }
}

static void after_fork(void) { pthread_mutex_unlock(&lock); }

static void in_forked(void) {
    in_child = 1;
    pthread_mutex_init(&lock, NULL);
}
