/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings as rows: reading, defaults, dump, hints and help of a key come from one row. Pure. */
#ifndef POSTERN_SETTING_H
#define POSTERN_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"
#include "proxy/base/cf.h"
#include "proxy/base/netaddr.h"

/* Each with the type of the struct member. */
enum setting_kind {
    SETTING_DURATION,    /* uint64_t, milliseconds */
    SETTING_SIZE,        /* uint64_t, octets */
    SETTING_COUNT,       /* uint32_t */
    SETTING_CHOICE,      /* an enum: the position of the word in `allowed` */
    SETTING_FLAG,        /* bool: yes, no */
    SETTING_TEXT,        /* struct bytes, empty when neither given nor defaulted */
    SETTING_CUSTOM,      /* whatever setting_type says */
    SETTING_PHRASE,      /* the same, but all words of the assignment are one value */
    SETTING_CHOICES,     /* unsigned: the bits of the words that were named */
    SETTING_TEXTS,       /* struct setting_texts */
    SETTING_NETS,        /* struct setting_nets */
    SETTING_DURATIONS,   /* struct setting_durations */
    SETTING_CUSTOM_LIST, /* {T *at; size_t count;} of whatever setting_type says */
    SETTING_PHRASES      /* the same, one value a line */
};

struct setting_texts {
    struct bytes *at;
    size_t count;
};

struct setting_nets {
    struct netmask *at;
    size_t count;
};

struct setting_durations {
    uint64_t *at; /* milliseconds */
    size_t count;
};

static inline bool setting_nets_hold(const struct setting_nets *nets, const struct netaddr *address)
{
    for (size_t i = 0; i < nets->count; i++)
        if (netaddr_in(address, &nets->at[i]))
            return true;
    return false;
}

struct setting_addresses { /* a list of the custom type setting_address: ADDR[:PORT] */
    struct netaddr *at;
    size_t count;
};

/* How one value of a custom kind is read and written. */
struct setting_type {
    const char *expected; /* for the error: "ADDR or ADDR:PORT" */
    size_t item_bytes;
    /* 0, ERR_SYNTAX or ERR_MEMORY; `word` lives as long as `arena`. */
    int (*parse)(struct bytes word, struct arena *arena, void *item_out);
    /* PHRASE and PHRASES have this instead of `parse`. *wrong_out: the index of the first wrong
     * word, or word_count when one more was expected. */
    int (*parse_words)(const struct cf_word *words, size_t word_count, struct arena *arena,
                       void *item_out, size_t *wrong_out);
    void (*put)(const void *item, struct buf *out);
};

extern const struct setting_type setting_address; /* struct netaddr, port 0 where none is given */

struct setting {
    const char *key;
    enum setting_kind kind;
    size_t offset;       /* of the member in the section's struct */
    const char *initial; /* the default as it would be written; NULL: unset, see initial_help */
    const char *allowed; /* CHOICE, CHOICES: "this|that"; TEXT, TEXTS: NULL or the same, in any
                            case; numbers: NULL or "MIN..MAX", either end may be missing */
    const char *help;    /* one line for the man page */
    /* The members below are optional. */
    const unsigned *bits;     /* CHOICES, where it is needed: a bit for each word of `allowed` */
    const char *initial_help; /* what the man page says of a default that is no constant */
    const struct setting_type *type; /* CUSTOM, PHRASE and lists of them */
    /* TEXT and TEXTS: NULL when the value is fine, else what was expected. */
    const char *(*wrong)(struct bytes value);
};

#define SETTING_SOCKET_PATH_MAX 107 /* octets: what a sockaddr_un holds beside its NUL */
#define SETTING_LISTEN_PATH_MAX 99  /* ... while it is made, the process id stands behind it */

void setting_put_net(const struct netmask *mask, struct buf *out); /* ADDR or ADDR/BITS */
/* For setting.wrong: the value must be a host name. */
const char *setting_wrong_host(struct bytes value);

#define SETTING_AT(type, member) offsetof(struct type, member)

/* One kind of section. */
struct setting_section {
    const char *kind; /* "smtpd" */
    const struct setting *rows;
    size_t row_count;
    size_t conf_bytes;  /* size of its struct */
    bool is_named;      /* [kind "NAME"], else [kind] */
    size_t name_offset; /* of a struct bytes that gets NAME; named ones only */
    const char *help;   /* one line for the man page */
};

/* A section that has been read, for the module whose section it is. */
struct setting_reading {
    void *conf;            /* of the kind's type; a setting that was not given has its default */
    struct bytes hostname; /* core.hostname */
    struct cf_place place;
    struct cf_problems *problems;
    struct arena *arena; /* the configuration's */
    /* Did the file or a flag give this key a value? */
    bool (*is_given)(struct setting_reading *reading, const char *key);
    /* Where its value number `index` was given; the section's place for a default. */
    struct cf_place (*place_of)(struct setting_reading *reading, const char *key, size_t index);
};

bool setting_is_list(const struct setting *row);
bool setting_is_phrase(const struct setting *row); /* all words of an assignment are one value */
/* NULL when there is none of this name. */
const struct setting *setting_find(const struct setting_section *section, struct bytes key);
struct bytes setting_nearest(const struct setting_section *section, struct bytes key);

/* Gives a value to a member of `conf`: sets it, or adds to a list. `words` is the right-hand side.
 * A wrong word is reported at its column of `place`, and is not assigned. 0, ERR_SYNTAX (reported)
 * or ERR_MEMORY. */
int setting_assign(const struct setting *row, void *conf, const struct cf_word *words,
                   size_t word_count, struct cf_place place, struct arena *arena,
                   struct cf_problems *problems);
/* Makes the member unset again, for flags, which override the file. */
void setting_clear(const struct setting *row, void *conf);
/* Assigns the default of one row, where it is a constant. 0 or ERR_MEMORY. */
int setting_default(const struct setting *row, void *conf, struct arena *arena);
/* How many values the member has now: 0 (unset text, empty list) or more. */
size_t setting_value_count(const struct setting *row, const void *conf);
/* Writes value number `index` as it would stand in the file. */
void setting_put_value(const struct setting *row, const void *conf, size_t index, struct buf *out);

#endif
