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
 * NumPy's own allocator, and so does one for an array that is not likely to be sent (`likely.h`). Python looks up between
 * items what was asked for (`born_wanted`) and lends more.
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

#include "blocks.h"
#include "kept.h"
#include "likely.h"

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

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t time_now; /* counts the requests for large arrays */
static size_t private_bytes; /* whose pages in the segment were given back, and Python has not asked since */
static uintptr_t start, end, segment;
static size_t threshold;
static int fd;
static struct stat file;
static Allocator other;
static volatile int on, in_child;

static int is_ours(const void *p) { return (uintptr_t)p >= start && (uintptr_t)p < end; }

#include "nursery.h"
#include "forks.h"

/* -- the handler -------------------------------------------------------------------------------------------------- */

/* Return a block for an array that is likely to be sent, NULL: there is none, or it is not. */
static __attribute__((noinline)) void *take(size_t n, unsigned *place) {
    *place = MOST_PLACES;
    if (!on || n < threshold || n > end - start) return NULL;
    size_t extent = born_extent_for(n);
    pthread_mutex_lock(&lock);
    time_now++;
    *place = next_place(extent);
    Block *block = NULL;
    if (on && (is_nursery || is_likely(extent, *place))) {
        block = free_block(extent);
        if (!block) block = carve(extent);
        if (block) block->state = LIVE, block->is_warm = 1, block->place = *place;
        else want(extent);
    }
    void *p = block ? (void *)block->at : NULL;
    pthread_mutex_unlock(&lock);
    return p;
}

/* Note where an array in ordinary memory is; return that. */
static void *note(void *p, size_t n, unsigned place) {
    if (place < MOST_PLACES || n >= LEAST_KEPT) {
        pthread_mutex_lock(&lock);
        if (place < MOST_PLACES) size_of(born_extent_for(n))->at[place] = (uintptr_t)p;
        track_large(p, n);
        pthread_mutex_unlock(&lock);
    }
    return p;
}

static void *kept(size_t n) {
    if (n < LEAST_KEPT) return NULL;
    pthread_mutex_lock(&lock);
    void *p = reuse_large(n);
    pthread_mutex_unlock(&lock);
    return p;
}

static void give_back(size_t most) { /* all that is kept beyond so many bytes */
    void *p;
    do {
        pthread_mutex_lock(&lock);
        p = surplus_large(most);
        pthread_mutex_unlock(&lock);
        if (p) other.free(other.ctx, p, LEAST_KEPT);
    } while (p);
}

/* Keep very large memory in place of freeing it; return whether that was done. */
static __attribute__((noinline)) int kept_instead(void *p) {
    pthread_mutex_lock(&lock);
    int is_kept = keep_large(p);
    pthread_mutex_unlock(&lock);
    if (is_kept) give_back(most_kept_bytes);
    return is_kept;
}

static void *born_malloc(void *ctx, size_t n) {
    (void)ctx;
    if (n < threshold) return other.malloc(other.ctx, n); /* most arrays: no more than a jump */
    unsigned place;
    void *p = take(n, &place);
    if (p) return p;
    return (p = kept(n)) ? note(p, 0, MOST_PLACES) : note(other.malloc(other.ctx, n), n, place);
}

static void *born_calloc(void *ctx, size_t count, size_t size) {
    (void)ctx;
    size_t n;
    unsigned place = MOST_PLACES;
    if (__builtin_mul_overflow(count, size, &n)) return NULL;
    void *p = take(n, &place);
    return p ? memset(p, 0, n) : note(other.calloc(other.ctx, count, size), n, place);
}

static void born_free(void *ctx, void *p, size_t n) {
    (void)ctx;
    if (!is_ours(p)) {
        if (!n_large || !kept_instead(p)) other.free(other.ctx, p, n);
        return;
    }
    if (in_child) return; /* the parent's, or a copy of it that goes with the child */
    pthread_mutex_lock(&lock);
    Block *block = block_at((uintptr_t)p);
    if (block && block->state == PRIVATE) madvise(p, block->extent, MADV_DONTNEED);
    else if (block && block->state != STUCK) {
        block->state = FREE;
        block->freed = time_now;
        if (is_nursery && !on) madvise(p, block->extent, MADV_REMOVE); /* nobody may ever come and trim it */
    }
    pthread_mutex_unlock(&lock);
}

static void *born_realloc(void *ctx, void *p, size_t n) {
    if (!p) return born_malloc(ctx, n);
    if (!is_ours(p)) {
        pthread_mutex_lock(&lock);
        size_t known = n_large ? forget_large(p) : 0;
        pthread_mutex_unlock(&lock);
        void *moved = other.realloc(other.ctx, p, n);
        note(moved ? moved : p, moved ? n : known, MOST_PLACES);
        return moved;
    }
    pthread_mutex_lock(&lock);
    Block *block = block_at((uintptr_t)p);
    size_t had = block ? block->extent : 0;
    int state = block ? block->state : HANDED;
    pthread_mutex_unlock(&lock);
    int is_others = state == HANDED || state == STUCK;
    if (n <= had && n > had / 2 && !is_others) return p;
    void *moved = born_malloc(ctx, n);
    if (!moved) return NULL;
    memcpy(moved, p, n < had ? n : had);
    if (!is_others) born_free(ctx, p, had); /* others read what was handed over: it stays as it is */
    return moved;
}

static Handler handler = {"pardata", 1, {NULL, born_malloc, born_calloc, born_realloc, born_free}};

/* -- for Python ---------------------------------------------------------------------------------------------------- */

uint32_t born_source(void) { return BORN_SOURCE; } /* a checksum of this file: the library is of this version of it */

/* Return the handler that lends blocks of [from, to), a part of the segment that is mapped at `base` from `segment_fd`;
 * NULL if forks cannot be seen. `keep`: bytes of freed ordinary memory that are kept at the most. Called once in a process. */
Handler *born_open(uintptr_t from, uintptr_t to, uintptr_t base, int segment_fd, size_t least, size_t keep,
                   const Handler *numpys) {
    most_kept_bytes = keep, start = from, end = to, segment = base, fd = segment_fd, threshold = least, other = numpys->allocator;
    if (fstat(fd, &file) || pthread_atfork(before_fork, after_fork, in_forked)) return NULL;
    on = 1;
    return &handler;
}

int born_is_on(void) { return on && !in_child; }

int born_lend(uintptr_t at, size_t extent) { /* returns whether there is room for one more block */
    pthread_mutex_lock(&lock);
    int has_room = on && n_blocks < MOST_LENT;
    if (has_room) {
        insert_block(place_of(at), (Block){at, extent, time_now, FREE, 0, MOST_PLACES});
    }
    pthread_mutex_unlock(&lock);
    return has_room;
}

/* Take back the block of `extent` that was used last, if one is free; return its address, 0: none is, or a fresh one. */
uintptr_t born_take(size_t extent) {
    pthread_mutex_lock(&lock);
    Block *block = in_child ? NULL : free_block(extent);
    uintptr_t at = block && block->is_warm ? block->at : 0;
    if (at) remove_block(block);
    pthread_mutex_unlock(&lock);
    return at;
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
        remove_block(block);
    }
    pthread_mutex_unlock(&lock);
    return at;
}

int born_has_free(size_t extent) {
    pthread_mutex_lock(&lock);
    int has = free_block(extent) != NULL;
    pthread_mutex_unlock(&lock);
    return has;
}

size_t born_wanted(void) { /* an extent of which there was no free block, once for each time; 0: no more */
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
    if (is_live) block->state = HANDED, note_sent(block->extent, block->place);
    pthread_mutex_unlock(&lock);
    return is_live;
}

void born_missed(uintptr_t at, size_t n) { /* an array of `n` bytes in ordinary memory has to be copied to be sent */
    pthread_mutex_lock(&lock);
    note_missed(born_extent_for(n), at);
    pthread_mutex_unlock(&lock);
}

void born_give_back(void) { give_back(0); } /* ordinary memory that is kept */

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
