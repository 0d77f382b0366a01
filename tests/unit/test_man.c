/* SPDX-License-Identifier: BSD-2-Clause */
/* The manual page postern.cf(5) holds what the rows of the settings say, word for word. Run with
 * the argument `print`, this program writes that part, to be put into the page. */
/* needs: shell io */
#include "tests/unit/lib.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/config/config_private.h"

#define PAGE  "doc/postern.cf.5"
#define BEGIN ".\\\" settings: begin\n"
#define END   ".\\\" settings: end\n"

/* Text for a line of roff: hyphens that can be copied, no control line by accident. */
static void put_text(struct lib_text *out, const char *text)
{
    for (; *text != '\0'; text++)
        lib_put(out, *text == '-' ? "\\-" : *text == '\\' ? "\\e" : "%c", *text);
}

/* The same as a sentence. */
static void put_sentence(struct lib_text *out, const char *text)
{
    bool is_word = byte_is_letter((uint8_t)text[0]) && byte_lower((uint8_t)text[1]) == text[1];
    lib_put(out, "%c", is_word ? (byte_lower((uint8_t)text[0]) - 'a' + 'A') : text[0]);
    put_text(out, text + 1);
    lib_put(out, ".\n");
}

static void put_line(struct lib_text *out, const char *before, const char *text, const char *after)
{
    lib_put(out, "%s", before);
    put_text(out, text);
    lib_put(out, "%s\n", after);
}

/* "a|b|c" as "a, b or c" */
static void put_choices(struct lib_text *out, const char *list)
{
    for (size_t len = strcspn(list, "|"); *list != '\0'; len = strcspn(list, "|")) {
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)len, list);
        put_text(out, word);
        list += len;
        if (*list == '|') {
            list++;
            lib_put(out, strchr(list, '|') != NULL ? ", " : " or ");
        }
    }
}

static void put_range(struct lib_text *out, const char *what, const char *range)
{
    const char *dots = range == NULL ? NULL : strstr(range, "..");
    if (dots != NULL && strncmp(range, dots + 2, (size_t)(dots - range)) == 0 && dots > range) {
        lib_put(out, "Always %s.\n", dots + 2);
        return;
    }
    lib_put(out, "%s", what);
    if (dots != NULL && dots > range)
        lib_put(out, dots[2] != '\0' ? " from %.*s" : " of at least %.*s", (int)(dots - range),
                range);
    if (dots != NULL && dots[2] != '\0')
        lib_put(out, dots > range ? " to %s" : " of at most %s", dots + 2);
    lib_put(out, ".\n");
}

static void put_values(struct lib_text *out, const struct setting *row)
{
    switch (row->kind) {
    case SETTING_DURATION:
        put_range(out, "A duration", row->allowed);
        break;
    case SETTING_DURATIONS:
        put_range(out, "Durations", row->allowed);
        break;
    case SETTING_SIZE:
        put_range(out, "A size", row->allowed);
        break;
    case SETTING_COUNT:
        put_range(out, "A number", row->allowed);
        break;
    case SETTING_FLAG:
        lib_put(out, "Yes or no.\n");
        break;
    case SETTING_NETS:
        lib_put(out, "Addresses or networks: ADDR, ADDR/BITS.\n");
        break;
    case SETTING_CHOICE:
    case SETTING_CHOICES:
    case SETTING_TEXT:
    case SETTING_TEXTS:
        if (row->allowed != NULL) {
            bool is_alone = strchr(row->allowed, '|') == NULL;
            lib_put(out, is_alone ? "Always " : setting_is_list(row) ? "Any of " : "One of ");
            put_choices(out, row->allowed);
            lib_put(out, ".\n");
        }
        break;
    case SETTING_CUSTOM:
    case SETTING_CUSTOM_LIST:
    case SETTING_PHRASE:
    case SETTING_PHRASES:
        put_sentence(out, row->type->expected);
        break;
    }
}

static void put_row(struct lib_text *out, const struct setting *row)
{
    put_line(out, ".It Cm ", row->key, setting_is_list(row) ? " No +" : "");
    put_sentence(out, row->help);
    put_values(out, row);
    if (row->initial == NULL && strcmp(row->initial_help, "must be given") == 0)
        lib_put(out, "It must be given.\n");
    else
        put_line(out, "Default: ", row->initial != NULL ? row->initial : row->initial_help, ".");
}

static void put_section(struct lib_text *out, const struct setting_section *section)
{
    lib_put(out, section->is_named ? ".Ss [%s \\*qNAME\\*q]\n" : ".Ss [%s]\n", section->kind);
    put_sentence(out, section->help);
    lib_put(out, ".Bl -tag -width Ds\n");
    for (size_t i = 0; i < section->row_count; i++)
        put_row(out, &section->rows[i]);
    lib_put(out, ".El\n");
}

static const char *settings_part(void)
{
    static struct lib_text out;
    const struct setting_section *section;
    out.len = 0;
    for (size_t i = 0; (section = config_builder_each_kind(i)) != NULL; i++)
        put_section(&out, section);
    assert_true(out.len + 1 < sizeof out.at);
    return out.at;
}

static void agrees_with_the_rows(void **state)
{
    static char page[256 * 1024];
    FILE *file = fopen(PAGE, "r");
    (void)state;
    if (file == NULL)
        fail_msg("%s cannot be read", PAGE);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    char *begin = strstr(page, BEGIN);
    char *end = begin == NULL ? NULL : strstr(begin, END);
    if (end == NULL)
        fail_msg("%s has no lines \"%.*s\" and \"%.*s\"", PAGE, (int)strlen(BEGIN) - 1, BEGIN,
                 (int)strlen(END) - 1, END);
    *end = '\0';
    if (strcmp(begin + strlen(BEGIN), settings_part()) != 0)
        fail_msg("the settings in %s are not those of the rows: `test_man print` shows them", PAGE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_rows)};
    if (argc == 2 && strcmp(argv[1], "print") == 0) {
        fputs(settings_part(), stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
