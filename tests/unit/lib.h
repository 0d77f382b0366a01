/* SPDX-License-Identifier: BSD-2-Clause */
/* What the unit tests share: rows that fail with both values, inputs cut in every way, failing
 * allocations, and chance that can be repeated. Include it instead of cmocka.h. */
#ifndef POSTERN_LIB_H
#define POSTERN_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/bytes.h"

/* --- rows: a test goes through its whole table, and fails at the end ---
 *
 * Each prints the row's number, what was compared and both values when they differ, and returns
 * whether they are the same. lib_end_rows() fails the test if any differed. A text may be NULL. */
bool lib_same_text(size_t row, const char *what, const char *expected, const char *actual);
bool lib_same_bytes(size_t row, const char *what, struct bytes expected, struct bytes actual);
bool lib_same_number(size_t row, const char *what, int64_t expected, int64_t actual);
bool lib_is_true(size_t row, const char *what, bool condition);
void lib_end_rows(void);

/* --- what a run has seen, written down as text to compare --- */
struct lib_text {
    size_t len;
    char at[65536]; /* ends with NUL; what does not fit is cut off */
};
void lib_put(struct lib_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Octets as a C string literal would have them, without the quotes. */
void lib_put_bytes(struct lib_text *text, struct bytes b);

/* Octets that come in pieces; there must be room for them. */
struct lib_octets {
    size_t len;
    uint8_t at[4096];
};
void lib_add(struct lib_octets *octets, struct bytes more);

/* --- inputs cut in every way: whole, every split in two, byte by byte ---
 *
 * `run` sets its object up, takes pieces until there are none, writes down what it saw, and takes
 * the object down again. Every piece ends right before a page that cannot be read, and is
 * overwritten before the next one: reading too far and keeping a borrowed pointer both show.
 *
 *     static void run(const void *given, struct lib_pieces *in, struct lib_text *seen)
 *     {
 *         struct line line;
 *         struct bytes piece;
 *
 *         line_init(&line);
 *         while (lib_next_piece(in, &piece))
 *             lib_unread(in, piece.len - line_feed(&line, piece));
 *         ...
 *     }
 */
struct lib_pieces;
bool lib_next_piece(struct lib_pieces *in, struct bytes *piece_out);
/* The last `octets` of the piece were not consumed: they come again, in front of the next piece.
 * When no more input comes they are offered once more, as long as each call consumes something. */
void lib_unread(struct lib_pieces *in, size_t octets);

/* Runs as above; `expected` is what every run must have seen. Differences are reported like those
 * of a row. `given` is handed to `run`. Only the first difference of a row is printed. */
bool lib_run_three_ways(size_t row, struct bytes input, const char *expected,
                        void (*run)(const void *given, struct lib_pieces *in,
                                    struct lib_text *seen),
                        const void *given);

/* A copy of `b` that ends right before a page that cannot be read; lib_guard_free() unmaps it. */
struct lib_guard {
    uint8_t *map;
    size_t map_bytes;
    struct bytes bytes;
};
struct lib_guard lib_guard_copy(struct bytes b);
void lib_guard_free(struct lib_guard *guard);

/* --- failing allocations ---
 *
 * Calls `run` with the first, second, third ... allocation failing, until a run asks for fewer.
 * That last one must return true: nothing failed. `run` cleans up after itself whatever happens,
 * and checks for itself that a failure was reported. Returns how many allocations a whole run
 * makes, so that a test can see that there were some. */
uint64_t lib_fail_each_allocation(bool (*run)(void *given), void *given);

/* --- chance --- */
struct lib_random {
    uint64_t state; /* the seed */
};
uint64_t lib_random_next(struct lib_random *r);
uint64_t lib_random_below(struct lib_random *r, uint64_t end); /* 0..end-1 */

#endif
