/* The blocks that are lent, by address, and the extents of which there were too few. Who calls this holds the lock. */
#define PAGE ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)
#define MOST_LENT 1024   /* blocks of one worker: a search over all of them takes a microsecond */
#define MOST_BLOCKS 8192 /* of the main process */
#define MOST_WANTED 32   /* requests that are noted until Python asks */

enum { FREE, LIVE, HANDED, PRIVATE, STUCK };
typedef struct {
    uintptr_t at;
    size_t extent;
    uint64_t freed; /* when, in requests: the block that was used last is warm in the caches */
    int state;
    int is_warm;    /* it was used: a fresh one comes last, as each of its pages is a fault */
    unsigned place; /* of its array: `likely.h` */
} Block;

static Block blocks[MOST_BLOCKS]; /* by address */
static size_t n_blocks;
static size_t wants[MOST_WANTED]; /* extents of which there was no free block */
static size_t n_wants;

size_t born_extent_for(size_t n) { /* as `memory.gaps.size_class` */
    if (n < PAGE) n = PAGE;
    int bits = 64 - __builtin_clzll(n - 1);
    size_t step = bits - 3 > 12 ? (size_t)1 << (bits - 3) : PAGE;
    size_t extent = (n + step - 1) / step * step;
    return extent < HUGE_PAGE ? extent : (extent + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static size_t place_of(uintptr_t at) { /* of the first block that does not begin before `at` */
    size_t low = 0, high = n_blocks;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (blocks[middle].at < at) low = middle + 1;
        else high = middle;
    }
    return low;
}

static Block *block_at(uintptr_t at) {
    size_t place = place_of(at);
    return place < n_blocks && blocks[place].at == at ? &blocks[place] : NULL;
}

static int is_warmer(const Block *a, const Block *b) {
    return a->is_warm != b->is_warm ? a->is_warm : a->freed >= b->freed;
}

static Block *free_block(size_t extent) {
    Block *found = NULL;
    for (size_t i = 0; i < n_blocks; i++)
        if (blocks[i].extent == extent && blocks[i].state == FREE && (!found || is_warmer(&blocks[i], found)))
            found = &blocks[i];
    return found;
}

static Block *insert_block(size_t place, Block block) {
    memmove(&blocks[place + 1], &blocks[place], (n_blocks++ - place) * sizeof(Block));
    blocks[place] = block;
    return &blocks[place];
}

static void remove_block(Block *block) {
    memmove(block, block + 1, (size_t)(&blocks[n_blocks--] - (block + 1)) * sizeof(Block));
}

static void want(size_t extent) {
    if (n_wants < MOST_WANTED) wants[n_wants++] = extent;
}
