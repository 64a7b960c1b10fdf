/* The main process: nobody lends blocks there, they are carved out of a range as arrays need them; see `nursery.py`. */
static int is_nursery; /* of the main process: it carves its blocks itself, and all arrays are born in them */
static uintptr_t carved, range_end; /* what is left of the range in which it does */

#define LEAST_AGE 50 /* requests; as in `lender.py` */

/* Give the pages of blocks back for whose sizes nobody has asked for long: arrays that grow would leave one of each. */
static void give_back_aged(void) {
    for (size_t i = 0; i < n_blocks; i++)
        if (blocks[i].state == FREE && blocks[i].is_warm && time_now - blocks[i].freed >= LEAST_AGE) {
            madvise((void *)blocks[i].at, blocks[i].extent, MADV_REMOVE);
            blocks[i].is_warm = 0;
        }
}

/* Return a new block of the nursery's range, NULL: it has no more room, or this is none. */
static Block *carve(size_t extent) {
    uintptr_t unit = extent < HUGE_PAGE ? PAGE : HUGE_PAGE, at = (carved + unit - 1) / unit * unit;
    if (at > range_end || range_end - at < extent || n_blocks == MOST_BLOCKS) return NULL;
    give_back_aged();
    carved = at + extent;
    if (unit == HUGE_PAGE) madvise((void *)at, extent, MADV_HUGEPAGE);
    size_t place = place_of(at);
    return insert_block(place, (Block){at, extent, 0, FREE, 0, MOST_PLACES});
}

/* Have all large arrays born in blocks of [from, to), 0, 0: no more. Return where what is left of the last range begins. */
uintptr_t born_nursery(uintptr_t from, uintptr_t to) {
    pthread_mutex_lock(&lock);
    uintptr_t left = carved;
    is_nursery = 1, carved = from, range_end = to, on = from != to && !in_child;
    pthread_mutex_unlock(&lock);
    return left;
}

void born_return(uintptr_t at) { /* what was handed over is used by the process itself alone, if it is there yet */
    pthread_mutex_lock(&lock);
    Block *block = in_child ? NULL : block_at(at);
    if (block && block->state == HANDED) block->state = LIVE;
    pthread_mutex_unlock(&lock);
}
