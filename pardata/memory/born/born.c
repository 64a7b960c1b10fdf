/* NumPy's allocator in a worker (NEP 49): large arrays get blocks that the worker's arena has lent. Plain C: no Python.h
 * and no NumPy header, so one build serves every Python and every NumPy.
 *
 *     born_lend -> FREE --malloc--> LIVE --born_hand_over--> HANDED
 *                   ^ |               | \                      |
 *   born_take_back <--'               |  `--fork--> PRIVATE    |
 *                   `------free-------+------------free--------'
 *
 * Nothing here waits but for the mutex, which is held for a few steps, and nothing calls Python: arrays are freed while
 * exceptions propagate, on any thread, with or without the interpreter's lock. A request that no free block fits goes to
 * NumPy's own allocator; Python looks up between items what was asked for (`born_wanted`) and lends more.
 *
 * A fork copies private memory and shares blocks, so a child would write into its parent's arrays. Just before it, every
 * live block becomes private memory at the same address (`before_fork`), and no array is born in a block from then on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)
#define MOST_BLOCKS 1024 /* of one worker: a search over all of them takes a microsecond */
#define MOST_WANTED 32   /* sizes that are noted until Python asks */

/* As NumPy declares them in ndarraytypes.h, version 1 of a handler. */
typedef struct {
    void *ctx;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *, size_t);
} Allocator;
typedef struct {
    char name[127];
    uint8_t version;
    Allocator allocator;
} Handler;

enum { FREE, LIVE, HANDED, PRIVATE };
typedef struct {
    uintptr_t at;
    size_t extent;
    uint64_t freed; /* when, in requests: the block that was used last is warm in the caches */
    int state;
} Block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Block blocks[MOST_BLOCKS]; /* by address */
static size_t n_blocks;
static size_t wants[MOST_WANTED]; /* extents of which there was no free block */
static size_t n_wants;
static uint64_t time_now; /* counts the requests for large arrays */
static size_t private_bytes; /* whose pages in the segment were given back, and Python has not asked since */
static uintptr_t start, end, segment;
static size_t threshold;
static int fd;
static struct stat file;
static Allocator other;
static volatile int on, in_child;

size_t born_extent_for(size_t n) { /* as `memory.gaps.size_class` */
    if (n < PAGE) n = PAGE;
    int bits = 64 - __builtin_clzll(n - 1);
    size_t step = bits - 3 > 12 ? (size_t)1 << (bits - 3) : PAGE;
    size_t extent = (n + step - 1) / step * step;
    return extent < HUGE_PAGE ? extent : (extent + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static int is_ours(const void *p) { return (uintptr_t)p >= start && (uintptr_t)p < end; }

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

static Block *free_block(size_t extent) {
    Block *found = NULL;
    for (size_t i = 0; i < n_blocks; i++)
        if (blocks[i].extent == extent && blocks[i].state == FREE && (!found || blocks[i].freed >= found->freed))
            found = &blocks[i];
    return found;
}

static void want(size_t extent) {
    for (size_t i = 0; i < n_wants; i++)
        if (wants[i] == extent) return;
    if (n_wants < MOST_WANTED) wants[n_wants++] = extent;
}

/* -- the handler -------------------------------------------------------------------------------------------------- */

static void *take(size_t n) {
    if (!on || n < threshold || n > end - start) return NULL;
    size_t extent = born_extent_for(n);
    pthread_mutex_lock(&lock);
    time_now++;
    Block *block = on ? free_block(extent) : NULL;
    if (block) block->state = LIVE;
    else want(extent);
    void *p = block ? (void *)block->at : NULL;
    pthread_mutex_unlock(&lock);
    return p;
}

static void *born_malloc(void *ctx, size_t n) {
    (void)ctx;
    void *p = take(n);
    return p ? p : other.malloc(other.ctx, n);
}

static void *born_calloc(void *ctx, size_t count, size_t size) {
    (void)ctx;
    size_t n;
    void *p = __builtin_mul_overflow(count, size, &n) ? NULL : take(n);
    return p ? memset(p, 0, n) : other.calloc(other.ctx, count, size);
}

static void born_free(void *ctx, void *p, size_t n) {
    (void)ctx;
    if (!is_ours(p)) {
        other.free(other.ctx, p, n);
        return;
    }
    if (in_child) return; /* the parent's, or a copy of it that goes with the child */
    pthread_mutex_lock(&lock);
    Block *block = block_at((uintptr_t)p);
    if (block && block->state == PRIVATE) madvise(p, block->extent, MADV_DONTNEED);
    else if (block) {
        block->state = FREE;
        block->freed = time_now;
    }
    pthread_mutex_unlock(&lock);
}

static void *born_realloc(void *ctx, void *p, size_t n) {
    if (!p) return born_malloc(ctx, n);
    if (!is_ours(p)) return other.realloc(other.ctx, p, n);
    pthread_mutex_lock(&lock);
    Block *block = block_at((uintptr_t)p);
    size_t had = block ? block->extent : 0;
    int state = block ? block->state : HANDED;
    pthread_mutex_unlock(&lock);
    if (n <= had && n > had / 2 && state != HANDED) return p;
    void *moved = born_malloc(ctx, n);
    if (!moved) return NULL;
    memcpy(moved, p, n < had ? n : had);
    if (state != HANDED) born_free(ctx, p, had); /* others read what was handed over: it stays as it is */
    return moved;
}

static Handler handler = {"pardata", 1, {NULL, born_malloc, born_calloc, born_realloc, born_free}};

/* -- forks --------------------------------------------------------------------------------------------------------- */

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

/* -- for Python ---------------------------------------------------------------------------------------------------- */

uint32_t born_source(void) { return BORN_SOURCE; } /* a checksum of this file: the library is of this version of it */

/* Return the handler that lends blocks of [from, to), a part of the segment that is mapped at `base` from `segment_fd`;
 * NULL if forks cannot be seen. Called once in a process. */
Handler *born_open(uintptr_t from, uintptr_t to, uintptr_t base, int segment_fd, size_t least, const Handler *numpys) {
    start = from, end = to, segment = base, fd = segment_fd, threshold = least, other = numpys->allocator;
    if (fstat(fd, &file) || pthread_atfork(before_fork, after_fork, in_forked)) return NULL;
    on = 1;
    return &handler;
}

int born_is_on(void) { return on && !in_child; }

int born_lend(uintptr_t at, size_t extent) { /* returns whether there is room for one more block */
    pthread_mutex_lock(&lock);
    int has_room = on && n_blocks < MOST_BLOCKS;
    if (has_room) {
        size_t place = place_of(at);
        memmove(&blocks[place + 1], &blocks[place], (n_blocks++ - place) * sizeof(Block));
        blocks[place] = (Block){at, extent, time_now, FREE};
    }
    pthread_mutex_unlock(&lock);
    return has_room;
}

/* Take back the block that has been free for longest, if for so many requests, and of another extent than `*extent`, which
 * becomes its own; return its address, 0: there is none. */
uintptr_t born_take_back(size_t *extent, size_t age) {
    uintptr_t at = 0;
    pthread_mutex_lock(&lock);
    Block *block = NULL;
    for (size_t i = 0; i < n_blocks && !in_child; i++)
        if (blocks[i].state == FREE && blocks[i].extent != *extent && (!block || blocks[i].freed < block->freed))
            block = &blocks[i];
    if (block && time_now - block->freed >= age) {
        at = block->at, *extent = block->extent;
        memmove(block, block + 1, (size_t)(&blocks[n_blocks--] - (block + 1)) * sizeof(Block));
    }
    pthread_mutex_unlock(&lock);
    return at;
}

size_t born_wanted(void) { /* an extent of which there was no free block since it was returned; 0: no more */
    size_t extent = 0;
    pthread_mutex_lock(&lock);
    if (n_wants) extent = wants[--n_wants];
    pthread_mutex_unlock(&lock);
    return extent;
}

size_t born_live(uintptr_t at) { /* the extent of the live block that begins there, 0: there is none */
    pthread_mutex_lock(&lock);
    Block *block = in_child ? NULL : block_at(at);
    size_t extent = block && block->state == LIVE ? block->extent : 0;
    pthread_mutex_unlock(&lock);
    return extent;
}

int born_hand_over(uintptr_t at) { /* returns whether it was live: a fork may have come between */
    pthread_mutex_lock(&lock);
    Block *block = in_child ? NULL : block_at(at);
    int is_live = block && block->state == LIVE;
    if (is_live) block->state = HANDED;
    pthread_mutex_unlock(&lock);
    return is_live;
}

size_t born_kept_bytes(void) { /* of blocks that are free, or in the hands of user code alone */
    size_t bytes = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_blocks; i++)
        if (blocks[i].state == FREE || blocks[i].state == LIVE) bytes += blocks[i].extent;
    pthread_mutex_unlock(&lock);
    return bytes;
}

size_t born_private_bytes(void) { /* that have left the segment since the last call */
    pthread_mutex_lock(&lock);
    size_t bytes = private_bytes;
    private_bytes = 0;
    pthread_mutex_unlock(&lock);
    return bytes;
}
