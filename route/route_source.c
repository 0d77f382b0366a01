/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of a routing table, which stand between its lines. */
#include "route/route_source.h"

#include "proxy/base/error.h"

/* One octet that may stand in an unquoted local part and has no meaning there. */
static int parse_delimiter(struct bytes word, struct arena *arena, void *item_out)
{
    (void)arena;
    if (word.len != 1 || memchr("+-=_~!#$%&*/?^", word.at[0], 14) == NULL)
        return ERR_SYNTAX;
    *(uint8_t *)item_out = word.at[0];
    return 0;
}

static void put_delimiter(const void *item, struct buf *out)
{
    uint8_t octet = *(const uint8_t *)item;
    if (octet != 0)
        cf_put_word(out, bytes_make(&octet, 1), false);
}

static const struct setting_type delimiter = {.expected = "one character, such as +",
                                              .item_bytes = 1,
                                              .parse = parse_delimiter,
                                              .put = put_delimiter};

static const struct setting rows[] = {
    {"case-sensitive", SETTING_FLAG, SETTING_AT(route_source, is_case_sensitive), "no", NULL,
     .help = "whether joe and Joe are two local parts in this table"},
    {"recipient-delimiter", SETTING_CUSTOM, SETTING_AT(route_source, recipient_delimiter), NULL,
     NULL, .initial_help = "none", .type = &delimiter,
     .help =
         "the character behind which a local part's detail stands: user+detail falls back to user"},
};

const struct setting_section route_source_section = {
    .kind = "route",
    .rows = rows,
    .row_count = ARRAY_LENGTH(rows),
    .conf_bytes = sizeof(struct route_source),
    .is_named = true,
    .name_offset = SETTING_AT(route_source, name),
    .help = "a routing table: lines of PATTERN TARGET[, TARGET...], or file PATH"};
