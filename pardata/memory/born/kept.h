/* Ordinary memory of very large arrays, kept when they are freed: glibc would map it anew for each, and every page of it
 * would be a page fault (an addition of 80 MB took 15.5 ms so, and 6 ms in memory that is warm). Smaller ones are kept
 * by glibc itself (`runtime.library_limits`).
 */
#define LEAST_KEPT ((size_t)32 << 20) /* the largest threshold that glibc takes */
#define MOST_TRACKED 64

typedef struct {
    void *p;
    size_t n;
    int is_free;
} Large;

static Large large[MOST_TRACKED]; /* the one that was freed last is behind */
static size_t n_large, kept_bytes, most_kept_bytes;

static void drop_large(size_t i) {
    if (large[i].is_free) kept_bytes -= large[i].n;
    memmove(&large[i], &large[i + 1], (--n_large - i) * sizeof(Large));
}

/* Return memory of `n` bytes that was kept, NULL: there is none. */
static void *reuse_large(size_t n) {
    for (size_t i = n_large; i--;)
        if (large[i].is_free && large[i].n == n) {
            large[i].is_free = 0;
            kept_bytes -= n;
            return large[i].p;
        }
    return NULL;
}

static void track_large(void *p, size_t n) {
    if (p && n >= LEAST_KEPT && n <= most_kept_bytes && n_large < MOST_TRACKED) large[n_large++] = (Large){p, n, 0};
}

/* Know `p` no more; return its size, 0: it was not known. */
static size_t forget_large(void *p) {
    for (size_t i = 0; i < n_large; i++)
        if (large[i].p == p) {
            size_t n = large[i].n;
            drop_large(i);
            return n;
        }
    return 0;
}

/* Return the memory that was kept for longest, if more than `most` bytes are, NULL: it is not more. It is known no more. */
static void *surplus_large(size_t most) {
    for (size_t i = 0; i < n_large && kept_bytes > most; i++)
        if (large[i].is_free) {
            void *p = large[i].p;
            drop_large(i);
            return p;
        }
    return NULL;
}

/* Keep `p`; return whether it was known. */
static int keep_large(void *p) {
    size_t n = forget_large(p);
    if (!n) return 0;
    large[n_large++] = (Large){p, n, 1};
    kept_bytes += n;
    return 1;
}
