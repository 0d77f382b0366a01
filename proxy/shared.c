/* SPDX-License-Identifier: BSD-2-Clause */
/* The mapping that all processes of a host share. */
#include "proxy/shared.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "proxy/base/hash.h"
#include "proxy/base/mem.h"

#define CELL_COUNT                                                                                 \
    32768U                /* a power of two: 32 MiB of addresses, of which cells in use are real   \
                           */
#define PROBES     64U    /* cells that one key may have */
#define WORD_COUNT 16384U /* a power of two */
#define NO_CELL    UINT32_MAX
#define TRIES      16 /* of finding a cell while others move theirs */

/* A cell's key. An EMPTY cell gets a key and is never empty again. From one key to another it goes
 * through BUSY, while the process that moves it makes sure that nobody is counted there. */
enum { KEY_EMPTY = 0, KEY_BUSY = 1 };

struct word {
    _Atomic uint64_t key; /* KEY_EMPTY: never used */
    _Atomic uint32_t value;
};

/* A cell's counters lie side by side, since their sum is read most often. */
struct map {
    _Atomic uint32_t columns; /* that were ever used */
    _Atomic uint32_t answers[SHARED_COLUMNS_MAX];
    _Atomic uint64_t keys[CELL_COUNT];
    _Atomic uint32_t counts[CELL_COUNT][SHARED_COLUMNS_MAX];
    struct word words[WORD_COUNT];
};

struct shared {
    struct map *map;
    unsigned column; /* ours; each process has its own copy of this struct */
    /* Part of all keys: without it clients could choose addresses that fill the cells of others,
     * whose limits would then hold for each process alone. */
    struct hash_key secret;
};

struct shared *shared_new(void)
{
    struct shared *s = mem_zalloc(sizeof(*s));
    int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;

    if (s == NULL)
        return NULL;
    if (getrandom(&s->secret, sizeof(s->secret), 0) != sizeof(s->secret)) {
        mem_free(s);
        return NULL;
    }
    void *map = mmap(NULL, sizeof(struct map), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (map == MAP_FAILED) {
        mem_free(s);
        return NULL;
    }
    s->map = map;
    return s;
}

void shared_free(struct shared **s)
{
    if (*s == NULL)
        return;
    munmap((*s)->map, sizeof(struct map));
    mem_free(*s);
    *s = NULL;
}

void shared_use(struct shared *s, unsigned column)
{
    uint32_t known = atomic_load(&s->map->columns);

    s->column = column;
    while (known <= column && !atomic_compare_exchange_weak(&s->map->columns, &known, column + 1))
        continue;
}

void shared_clear(struct shared *s, unsigned column)
{
    for (uint32_t cell = 0; cell < CELL_COUNT; cell++)
        if (atomic_load(&s->map->keys[cell]) != KEY_EMPTY)
            atomic_store(&s->map->counts[cell][column], 0);
}

void shared_answer(struct shared *s)
{
    atomic_fetch_add(&s->map->answers[s->column], 1);
}

uint32_t shared_answers(const struct shared *s, unsigned column)
{
    return atomic_load(&s->map->answers[column]);
}

/* ---- keys ---- */

uint64_t shared_key(const struct shared *s, const char *kind, struct bytes name)
{
    static const struct hash_key none;
    const struct hash_key *secret = s == NULL ? &none : &s->secret;
    uint64_t both[2] = {hash_bytes(secret, bytes_of(kind)), hash_bytes(secret, name)};
    uint64_t key = hash_bytes(secret, bytes_make(both, sizeof(both)));
    return key > KEY_BUSY ? key : key + 2;
}

uint64_t shared_key_of_client(const struct shared *s, struct bytes smtpd, const struct netaddr *net,
                              unsigned bits)
{
    uint8_t text[2 + sizeof(net->octets) + sizeof(uint64_t)];
    uint64_t listener = shared_key(s, "smtpd", smtpd);

    text[0] = (uint8_t)net->family;
    text[1] = (uint8_t)bits;
    memcpy(text + 2, net->octets, sizeof(net->octets));
    memcpy(text + 2 + sizeof(net->octets), &listener, sizeof(listener));
    return shared_key(s, "client", bytes_make(text, sizeof(text)));
}

/* ---- cells ---- */

static uint32_t cell_at(uint64_t key, unsigned probe)
{
    return ((uint32_t)key + probe) & (CELL_COUNT - 1);
}

static uint32_t sum_of(const struct map *map, uint32_t cell)
{
    uint32_t columns = atomic_load(&map->columns);
    uint32_t sum = 0;

    for (uint32_t i = 0; i < columns; i++)
        sum += atomic_load(&map->counts[cell][i]);
    return sum;
}

/* The first of a key's cells that bears the key; or NO_CELL, and the first of them that is empty.
 */
static uint32_t find(const struct map *map, uint64_t key, uint32_t *empty_out)
{
    for (unsigned i = 0; i < PROBES; i++) {
        uint32_t cell = cell_at(key, i);
        uint64_t there = atomic_load(&map->keys[cell]);
        if (there == key)
            return cell;
        if (there == KEY_EMPTY) {
            *empty_out = cell;
            return NO_CELL;
        }
    }
    *empty_out = NO_CELL;
    return NO_CELL;
}

/* Takes a cell in which nobody is counted. A process that adds there meanwhile looks at the key
 * afterwards, and we look at the sum after the key, so that one of us sees the other. */
static bool move(struct map *map, uint32_t cell, uint64_t key)
{
    uint64_t old = atomic_load(&map->keys[cell]);
    bool is_free;

    if (old <= KEY_BUSY || sum_of(map, cell) != 0 ||
        !atomic_compare_exchange_strong(&map->keys[cell], &old, KEY_BUSY))
        return false;
    is_free = sum_of(map, cell) == 0;
    atomic_store(&map->keys[cell], is_free ? key : old);
    return is_free;
}

static void make(struct map *map, uint64_t key, uint32_t empty)
{
    uint64_t none = KEY_EMPTY;

    if (empty != NO_CELL) {
        (void)atomic_compare_exchange_strong(&map->keys[empty], &none, key);
        return;
    }
    for (unsigned i = 0; i < PROBES; i++)
        if (move(map, cell_at(key, i), key))
            return;
}

/* Counts us in, in a cell that still bears the key afterwards. */
static uint32_t enter(struct shared *s, uint64_t key, uint32_t change)
{
    struct map *map = s->map;
    uint32_t empty;

    for (int i = 0; i < TRIES; i++) {
        uint32_t cell = find(map, key, &empty);
        if (cell == NO_CELL) {
            make(map, key, empty);
            continue;
        }
        atomic_fetch_add(&map->counts[cell][s->column], change);
        if (find(map, key, &empty) == cell)
            return cell;
        atomic_fetch_sub(&map->counts[cell][s->column], change);
    }
    return NO_CELL;
}

void shared_add(struct shared *s, struct shared_count *count, int32_t change)
{
    if (s != NULL && count->own == 0)
        count->cell = enter(s, count->key, (uint32_t)change);
    else if (s != NULL && count->cell != NO_CELL)
        atomic_fetch_add(&s->map->counts[count->cell][s->column], (uint32_t)change);
    count->own += (uint32_t)change;
}

uint32_t shared_sum(const struct shared *s, const struct shared_count *count)
{
    uint32_t cell = count->cell;
    uint32_t empty;

    if (s == NULL)
        return count->own;
    if (count->own == 0)
        cell = find(s->map, count->key, &empty);
    return cell == NO_CELL ? count->own : sum_of(s->map, cell);
}

/* ---- words ---- */

static struct word *word_at(const struct shared *s, uint64_t key, unsigned probe)
{
    return &s->map->words[((uint32_t)key + probe) & (WORD_COUNT - 1)];
}

/* NULL: it has no place. */
static struct word *find_word(const struct shared *s, uint64_t key)
{
    for (unsigned i = 0; i < PROBES; i++) {
        struct word *word = word_at(s, key, i);
        uint64_t there = atomic_load(&word->key);
        if (there == key)
            return word;
        if (there == KEY_EMPTY)
            break;
    }
    return NULL;
}

/* The first place that is empty, or whose word says nothing. */
static struct word *place_word(const struct shared *s, uint64_t key)
{
    for (unsigned i = 0; i < PROBES; i++) {
        struct word *word = word_at(s, key, i);
        uint64_t there = atomic_load(&word->key);
        if (atomic_load(&word->value) == 0 &&
            atomic_compare_exchange_strong(&word->key, &there, key))
            return word;
        if (there == key) /* somebody else was faster */
            return word;
    }
    return NULL;
}

uint32_t shared_word(const struct shared *s, uint64_t key)
{
    const struct word *word = s == NULL ? NULL : find_word(s, key);

    return word == NULL ? 0 : atomic_load(&word->value);
}

/* Who takes a place whose word says nothing may do so just before it is changed, so the key is
 * looked at once more. */
bool shared_word_change(struct shared *s, uint64_t key, uint32_t old, uint32_t value)
{
    struct word *word = s == NULL ? NULL : find_word(s, key);

    if (word == NULL && s != NULL && old == 0)
        word = place_word(s, key);
    if (word == NULL || !atomic_compare_exchange_strong(&word->value, &old, value))
        return false;
    if (atomic_load(&word->key) == key)
        return true;
    (void)atomic_compare_exchange_strong(&word->value, &value, old);
    return false;
}
