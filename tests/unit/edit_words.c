/* SPDX-License-Identifier: BSD-2-Clause */
/* Edits of a message, as plays and transcripts write them. */
#include "tests/unit/edit_words.h"

#include <stdlib.h>

static const struct {
    const char *word;
    enum filter_edit_kind kind;
    bool has_index, has_name;
} forms[] = {
    {"add", FILTER_ADD_FIELD, false, true},      {"insert", FILTER_INSERT_FIELD, true, true},
    {"change", FILTER_CHANGE_FIELD, true, true}, {"delete", FILTER_CHANGE_FIELD, true, true},
    {"body", FILTER_REPLACE_BODY, false, false}, {"from", FILTER_CHANGE_SENDER, false, false},
    {"to", FILTER_ADD_RCPT, false, false},       {"not", FILTER_DELETE_RCPT, false, false},
    {"hold", FILTER_QUARANTINE, false, false},
};

/* The next word between blanks. */
static struct bytes take_word(struct bytes *rest)
{
    *rest = bytes_skip(*rest, rest->len > 0 && rest->at[0] == ' ');
    struct bytes word = bytes_first(*rest, bytes_find(*rest, ' '));
    *rest = bytes_skip(*rest, word.len);
    return word;
}

static bool read(struct bytes rest, struct filter_edit *edit_out)
{
    struct bytes word = take_word(&rest);
    size_t i = 0;

    while (i < ARRAY_LENGTH(forms) && !bytes_is(word, forms[i].word))
        i++;
    if (i == ARRAY_LENGTH(forms))
        return false;
    *edit_out = (struct filter_edit){.kind = forms[i].kind};
    if (forms[i].has_index)
        edit_out->index = (uint32_t)strtoul((const char *)take_word(&rest).at, NULL, 10);
    if (forms[i].has_name)
        edit_out->name = take_word(&rest); /* what stands behind the colon has its blank */
    else
        rest = bytes_skip(rest, 1);
    edit_out->value = rest;
    return true;
}

bool edit_words_next(struct bytes *rest, struct filter_edit *edit_out)
{
    struct bytes one = bytes_first(*rest, bytes_find(*rest, '|'));

    *rest = bytes_skip(*rest, one.len < rest->len ? one.len + 1 : one.len);
    return read(one, edit_out);
}
