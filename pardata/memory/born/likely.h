/* Which of the arrays that an item makes is likely to be sent: of each size, those of the places (the first, the second
 * array of this size since the last message) that were sent lately. All others are better off in ordinary memory, which
 * has huge pages and is nobody's but the worker's. Pure: no lock, no system call.
 *
 *     round:      A  B  C  -- message with C --     A  B  C  -- message with C --     A  B  C
 *     in blocks:  A  B  C                                 C                                 C
 *
 * An array in ordinary memory that is sent has been a mistake, and costs a copy: places of its size are then given up
 * later, after twice as many messages. So a function whose result is now the second, now the fifth array of its size has all
 * five in blocks after a while.
 */
#define MOST_SIZES 32  /* of arrays, all of one extent: others take the place of the oldest */
#define MOST_PLACES 64 /* arrays of one size between two messages; those behind are taken for unlikely */
#define MOST_PATIENCE 64

typedef struct {
    size_t extent;
    unsigned asked, patience;     /* how many since the last message; rounds */
    uint64_t sent;                /* a bit for each place: in this round */
    uint8_t unsent[MOST_PLACES];  /* rounds since it was sent */
    uintptr_t at[MOST_PLACES];    /* where the array of that place was the last time */
} Size;

static Size sizes[MOST_SIZES];
static size_t n_sizes;
static int is_sent; /* a message: the next array begins a round */

static Size *size_of(size_t extent) {
    for (size_t i = 0; i < n_sizes && i < MOST_SIZES; i++)
        if (sizes[i].extent == extent) return &sizes[i];
    Size *size = &sizes[n_sizes++ % MOST_SIZES];
    *size = (Size){.extent = extent, .patience = 1};
    return size;
}

static void begin_round(void) {
    for (size_t i = 0; i < n_sizes && i < MOST_SIZES; i++) {
        Size *size = &sizes[i];
        for (unsigned place = 0; place < size->asked && place < MOST_PLACES; place++)
            if (!(size->sent >> place & 1) && size->unsent[place] < UINT8_MAX) size->unsent[place]++;
        size->asked = 0, size->sent = 0;
    }
    is_sent = 0;
}

/* Return the place of the array that is asked for now, MOST_PLACES: far behind. */
static unsigned next_place(size_t extent) {
    if (is_sent) begin_round();
    Size *size = size_of(extent);
    return size->asked < MOST_PLACES ? size->asked++ : MOST_PLACES;
}

static int is_likely(size_t extent, unsigned place) {
    Size *size = size_of(extent);
    return place < MOST_PLACES && size->unsent[place] < size->patience;
}

static void note_sent(size_t extent, unsigned place) {
    Size *size = size_of(extent);
    is_sent = 1;
    if (place < MOST_PLACES) size->sent |= (uint64_t)1 << place, size->unsent[place] = 0;
}

/* Note that an array in ordinary memory at `at` was sent, or would have been if it were in a block. */
static void note_missed(size_t extent, uintptr_t at) {
    Size *size = size_of(extent);
    unsigned place = size->asked;
    while (place && size->at[place - 1] != at) place--;
    int was_likely = place && size->unsent[place - 1] < size->patience; /* there was no block */
    if (!was_likely && size->patience < MOST_PATIENCE) size->patience *= 2;
    if (!place) memset(size->unsent, 0, sizeof size->unsent); /* made before the last message: it is not known where */
    note_sent(extent, place ? place - 1 : MOST_PLACES);
}
