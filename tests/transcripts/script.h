/* SPDX-License-Identifier: BSD-2-Clause */
/* A transcript as steps. README.md says how it is written. */
#ifndef POSTERN_SCRIPT_H
#define POSTERN_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRIPT_ACTORS 16 /* clients, and as many connections to targets */

enum step_kind {
    STEP_SEND,    /* actions: */
    STEP_CONNECT, /* a client begins, a target accepts */
    STEP_REFUSE,
    STEP_HANG,
    STEP_CLOSE,
    STEP_RESET,
    STEP_SHUT,
    STEP_STOP_READING,
    STEP_READ,
    STEP_CHUNKS,
    STEP_IGNORE,
    STEP_WAIT,
    STEP_DNS,
    STEP_DISK,
    STEP_SIGNAL,
    STEP_VERDICT,
    STEP_VERDICT_AHEAD,
    STEP_HEAR, /* expectations: */
    STEP_ENDED,
    STEP_WAITING, /* what this actor sent is not read */
    STEP_ASKED,   /* the filter was */
    STEP_LOG,
    STEP_FILE,
    STEP_NO_FILE
};

struct step {
    enum step_kind kind;
    int line;
    char file[40]; /* where the line stands */
    bool is_target;
    bool begins;     /* a blank line is in front: it does not happen together with the one before */
    unsigned actor;  /* from 0 */
    uint64_t number; /* milliseconds; a signal; how often */
    const char *about; /* an address, a path, what is asked of DNS */
    const char *text;  /* SEND: `length` octets; else a pattern */
    size_t length;
};

struct script {
    const char *path;
    char *config;
    bool is_whole;  /* no splits: what happens depends on what comes together */
    char *filtered; /* stages at which the filter is asked; NULL: there is none */
    struct step *steps;
    size_t count;
};

/* Prints what is wrong and exits. */
void script_read(const char *path, struct script *script_out);
void script_free(struct script *s);
/* How many octets one actor sends. */
uint64_t script_octets(const struct script *s, bool is_target, unsigned actor);
/* `*` stands for any text. */
bool script_matches(const char *pattern, const char *text, size_t length);

#endif
