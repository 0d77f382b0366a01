/* SPDX-License-Identifier: BSD-2-Clause */
/* Every operation of the spool's state table, ended at every call of disk.h, with every legal
 * subset of what was not synced then; and with each call failing. What is below "private" is for
 * tests/sim/exhaustive*.c. */
#ifndef POSTERN_SIM_EXHAUSTIVE_H
#define POSTERN_SIM_EXHAUSTIVE_H

#include "proxy/base/id.h"
#include "tests/sim/world.h"

struct exhaustive_counts {
    uint64_t deaths;       /* cut points: a process that died before its nth call */
    uint64_t failures;     /* ... or whose nth call has failed */
    uint64_t meetings;     /* ... or beside which another one lived, between two of its calls */
    uint64_t combinations; /* cut points x subsets of what was not synced */
    uint64_t states;       /* disks that differ, each of which was recovered */
    uint64_t limited;      /* cut points with more subsets than were tried */
    uint64_t failed;
};

/* How much of it: every cut point, or each of a fixed part of them. */
struct exhaustive_part {
    unsigned one_of, first; /* cut points first, first + one_of ... of each operation */
    bool is_loud;           /* the log of what fails */
    bool stops;             /* at the first that fails */
};

unsigned exhaustive_count(void);
const char *exhaustive_name(unsigned operation);
void exhaustive_run(unsigned operation, const struct exhaustive_part *part,
                    struct exhaustive_counts *counts);

/* ---- private ---- */

#define BOOK_ADDRESS    32
#define BOOK_LINES      24
#define BOOK_MESSAGES   4
#define BOOK_RECIPIENTS 3

/* Where a life's targets stand. */
enum targets_state {
    TARGETS_DOWN,
    TARGETS_FULL,   /* up: everybody is put off */
    TARGETS_STRICT, /* up: no...@ is refused, later...@ is put off, for ever */
    TARGETS_KIND    /* up: they take everything */
};

/* What happens in a life: "send FROM RCPT...", or what posternctl asks, "hold ID". */
#define LIFE_ACTS 4

/* One process. */
struct life {
    unsigned seconds; /* until SIGTERM; 0: there is no such life */
    enum targets_state targets;
    const char *acts[LIFE_ACTS];
    void (*touch)(struct sim *w); /* before: what is done to the disk; may be NULL */
    uint64_t killed_at_call;      /* 0: it ends by itself */
};

/* What may become of a message beside delivery and a report. */
enum mercy {
    MERCY_HELD = 1,     /* it may lie in hold/ */
    MERCY_BAD = 2,      /* it may lie in bad/ */
    MERCY_GONE = 4,     /* it may be nowhere: an operator has deleted it */
    MERCY_TAKEN_TOO = 8 /* who heard of a failure may get it: the target takes it after all */
};

/* What must be where the operator, or the log, has been told that it is done. */
enum duty {
    DUTY_NONE,
    DUTY_HELD,
    DUTY_DELIVERED,
    DUTY_NOT_DELIVERED,
    DUTY_NOT_THERE,
    DUTY_TARGET_B
};

/* struct store_limits: the server's; few messages reach them; each change writes the file anew. */
enum exhaustive_limits { LIMITS_OF_SERVER, LIMITS_LOW, LIMITS_REWRITE };

/* What the file system can do: all; or there are no unnamed files; or it cannot rename without
 * replacing. */
enum file_system { FS_USUAL, FS_WITHOUT_UNNAMED, FS_WITHOUT_MOVE };

#define OPERATION_BEFORE 4

struct operation {
    const char *name;
    const char *settings; /* of [core] */
    enum exhaustive_limits limits;
    enum file_system file_system;
    struct life before[OPERATION_BEFORE];
    struct life life;
    unsigned mercy;
    enum duty duty;
};

extern const struct operation exhaustive_operations[];
extern const unsigned exhaustive_operation_count;

/* ---- the book: what happened, over all lives; copied with each way that a moment is left ---- */

/* A target has taken a message for a recipient. */
struct book_line {
    char id[ID_LENGTH + 1];
    char to[BOOK_ADDRESS];
    char about[BOOK_ADDRESS]; /* of a report: the recipient that it is about */
    char action[10];          /* ... failed, delayed, relayed */
    bool is_told;             /* the log says so */
    uint64_t told_ms;
    bool was_unsynced; /* a process died before the removal was synced */
    bool may_repeat;
    bool is_at_b, is_box;
};

struct book_recipient {
    char address[BOOK_ADDRESS];
    bool is_bounced, is_reported; /* the log says so */
    bool is_held, is_bad;         /* at the end, in that folder */
    unsigned boxed;               /* in a Maildir, at the end */
    unsigned box_mercy;           /* how often a Maildir may have got it anew */
    unsigned report_mercy;        /* ... who sent it a report */
    char id[ID_LENGTH + 1];       /* of the message, once it has bounced */
    uint64_t bounced_ms;
};

struct book_message {
    char sender[BOOK_ADDRESS];
    bool is_big, is_acknowledged;
    bool is_refused; /* and nobody has cut the power since */
    struct book_recipient recipients[BOOK_RECIPIENTS];
    unsigned recipient_count;
};

struct book {
    struct book_message messages[BOOK_MESSAGES];
    unsigned message_count;
    struct book_line lines[BOOK_LINES];
    unsigned line_count;
    bool is_duty_done;  /* the operator heard so, or the log says it */
    bool is_orderly;    /* the last process ended by itself, and no call has failed */
    bool has_failed;    /* some call has */
    unsigned unwritten; /* how often the log of the last process says so */
    char problem[300];  /* the first; empty: none */
};

void book_fail(struct book *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t book_hash(const struct book *b);
/* NULL: none of ours. */
struct book_recipient *book_find(struct book *b, struct bytes address,
                                 struct book_message **message_out);
/* The octets of a message; the caller frees. */
void book_content(const struct book_message *m, struct sim_text *text);
/* Is it the message, behind lines that were put in front of it? In a Maildir without CR. */
bool book_is_content(const struct book_message *m, struct bytes content, bool has_cr);
/* A target has taken `content`. */
void book_take(struct book *b, bool is_at_b, struct bytes sender, struct bytes to,
               struct bytes content);
/* One line of the log, and when it was written. */
void book_hear(struct book *b, struct bytes line, uint64_t now_ms);
/* The process is no more; `is_power`: and the power will be cut. What lies there is not touched. */
void book_death(struct book *b, struct sim *w, bool is_power);
/* What lies there now: every message is whole, and one file. */
void book_look(struct book *b, struct sim *w, const struct operation *o);
/* All is over: the queue is empty, and everybody has what is due to him. */
void book_close(struct book *b, struct sim *w, const struct operation *o);

/* ---- a life ---- */

struct config;

/* Plays it: a process with its clients, targets and operator. True: it came to its end; else it
 * was killed. */
bool play_life(struct sim *w, const struct config *config, const struct operation *o,
               const struct life *life, struct book *book);

#endif
