/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads and writes small pieces of text: numbers, host names, xtext, dates, words. */
#ifndef POSTERN_TEXT_H
#define POSTERN_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

/* Digits only. 0, ERR_SYNTAX (no digits, or anything else), ERR_RANGE (over `max`). */
int text_decimal(struct bytes text, uint64_t max, uint64_t *number_out);
/* "90s", "5m", "1h", "2d", "0"; a bare number is seconds. */
int text_duration_ms(struct bytes text, uint64_t *ms_out);
/* "64k", "50m", "4g"; a bare number is octets. */
int text_size_bytes(struct bytes text, uint64_t *bytes_out);
/* In the largest unit that divides the value, so that the functions above read the same value.
 * Fractions of a second are left out. */
void text_put_duration(struct buf *out, uint64_t ms);
void text_put_size(struct buf *out, uint64_t bytes);

/* RFC 1123: labels of letters, digits, hyphens (and underscores, which DNS has), 1..63 octets,
 * no hyphen at either end, 255 in all, the last label not all digits; no final dot. */
bool text_is_host_name(struct bytes text);

/* RFC 3461 4: everything outside 33..126, '+' and '=' as +XX. */
void text_put_xtext(struct buf *out, struct bytes text);
size_t text_xtext_length(struct bytes text);
/* The text that `xtext` stands for, in `arena` where the octets differ. ERR_SYNTAX: "+" without two
 * hex digits; ERR_MEMORY. */
int text_from_xtext(struct bytes xtext, struct arena *arena, struct bytes *text_out);

/* Text of others: every octet that `is_harmless` denies becomes "?". */
void text_put_neutral(struct buf *out, struct bytes text, bool (*is_harmless)(uint8_t c));

/* RFC 5322 3.3 in UTC: "Sun, 22 Nov 2026 03:47:44 +0000". */
void text_put_date(struct buf *out, int64_t wall_s);

/* Takes the next word (no space, no TAB) off `*rest`; empty when none is left. */
struct bytes text_word(struct bytes *rest);
struct bytes text_trim(struct bytes text); /* spaces and TABs at both ends */

/* Edit distance up to 3, for "did you mean"; 4 for anything farther. */
unsigned text_distance(struct bytes a, struct bytes b);

#endif
