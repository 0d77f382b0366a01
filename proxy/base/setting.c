/* SPDX-License-Identifier: BSD-2-Clause */
/* Assigns values and defaults to members of a section's struct as its rows say. */
#include "proxy/base/setting.h"

#include "proxy/base/error.h"
#include "proxy/base/setting_private.h"
#include "proxy/base/text.h"

#define EXPECTED_MAX      400
#define DEFAULT_WORDS_MAX 8

_Static_assert(sizeof(enum setting_kind) == sizeof(unsigned), "enums are read as unsigned");

/* The value to assign: one word, or all words of an assignment where they are one value. */
struct given {
    const struct setting *row;
    const struct cf_word *word;
    size_t word_count;     /* from `word` on, that make one value */
    struct cf_place place; /* of the word */
    struct arena *arena;
    struct cf_problems *problems;
};

static void *member_of(const struct setting *row, void *conf)
{
    return (char *)conf + row->offset;
}

bool setting_is_list(const struct setting *row)
{
    return row->kind >= SETTING_CHOICES;
}

bool setting_is_phrase(const struct setting *row)
{
    return row->kind == SETTING_PHRASE || row->kind == SETTING_PHRASES;
}

const struct setting *setting_find(const struct setting_section *section, struct bytes key)
{
    for (size_t i = 0; i < section->row_count; i++)
        if (bytes_is(key, section->rows[i].key))
            return &section->rows[i];
    return NULL;
}

struct bytes setting_nearest(const struct setting_section *section, struct bytes key)
{
    struct cf_nearest nearest;
    cf_nearest_init(&nearest, key);
    for (size_t i = 0; i < section->row_count; i++)
        cf_nearest_offer(&nearest, bytes_of(section->rows[i].key));
    return cf_nearest_name(&nearest);
}

/* ---- choices ---- */

bool setting_next_choice(struct bytes *rest, struct bytes *choice_out)
{
    if (rest->len == 0)
        return false;
    size_t len = bytes_find(*rest, '|');
    *choice_out = bytes_first(*rest, len);
    *rest = bytes_skip(*rest, len == rest->len ? len : len + 1);
    return true;
}

struct bytes setting_choices(const char *list)
{
    return list == NULL ? bytes_make(NULL, 0) : bytes_of(list);
}

enum letter_case { CASE_COUNTS, CASE_IGNORED };

/* The position of a choice, or -1. */
static int find_choice(const char *list, struct bytes word, enum letter_case letter_case)
{
    struct bytes rest = setting_choices(list);
    struct bytes choice;
    for (int i = 0; setting_next_choice(&rest, &choice); i++)
        if (letter_case == CASE_IGNORED ? bytes_equal_nocase(choice, word)
                                        : bytes_equal(choice, word))
            return i;
    return -1;
}

struct bytes setting_choice_at(const char *list, unsigned position)
{
    struct bytes rest = setting_choices(list);
    struct bytes choice = bytes_make(NULL, 0);
    for (unsigned i = 0; setting_next_choice(&rest, &choice); i++)
        if (i == position)
            return choice;
    return bytes_make(NULL, 0);
}

/* ---- what is wrong with a word ---- */

/* The text of what was expected, on the stack: it must not need memory that is short. */
struct expectation {
    uint8_t at[EXPECTED_MAX];
    size_t len;
};

static void expect(struct expectation *expected, struct bytes text)
{
    text = bytes_first(text, sizeof expected->at - expected->len);
    if (text.len > 0)
        memcpy(expected->at + expected->len, text.at, text.len);
    expected->len += text.len;
}

static void expect_text(struct expectation *expected, const char *text)
{
    expect(expected, bytes_of(text));
}

static void expect_choices(struct expectation *expected, const char *list)
{
    struct bytes rest = setting_choices(list);
    struct bytes choice;
    for (size_t i = 0; setting_next_choice(&rest, &choice); i++) {
        if (i > 0)
            expect_text(expected, rest.len == 0 ? " or " : ", ");
        expect(expected, choice);
    }
}

/* " from MIN to MAX", " of at least MIN", " of at most MAX" */
static void expect_range(struct expectation *expected, const char *allowed)
{
    struct bytes range = setting_choices(allowed);
    size_t dots = bytes_find(range, '.');
    if (range.len < dots + 2)
        return;
    struct bytes least = bytes_first(range, dots);
    struct bytes most = bytes_skip(range, dots + 2);
    if (bytes_equal(least, most)) {
        *expected = (struct expectation){.len = 0};
        expect(expected, least);
        return;
    }
    if (least.len > 0) {
        expect_text(expected, most.len > 0 ? " from " : " of at least ");
        expect(expected, least);
    }
    if (most.len > 0) {
        expect_text(expected, least.len > 0 ? " to " : " of at most ");
        expect(expected, most);
    }
}

static void expect_kind(struct expectation *expected, const struct setting *row)
{
    switch (row->kind) {
    case SETTING_DURATION:
    case SETTING_DURATIONS:
        expect_text(expected, "a duration (90s, 5m, 1h, 2d)");
        expect_range(expected, row->allowed);
        break;
    case SETTING_SIZE:
        expect_text(expected, "a size (64k, 50m, 4g)");
        expect_range(expected, row->allowed);
        break;
    case SETTING_COUNT:
        expect_text(expected, "a number");
        expect_range(expected, row->allowed);
        break;
    case SETTING_FLAG:
        expect_text(expected, "yes or no");
        break;
    case SETTING_CHOICE:
    case SETTING_CHOICES:
    case SETTING_TEXT:
    case SETTING_TEXTS:
        expect_choices(expected, row->allowed);
        break;
    case SETTING_NETS:
        expect_text(expected, "ADDR or ADDR/BITS, no bits set behind the prefix");
        break;
    case SETTING_CUSTOM:
    case SETTING_CUSTOM_LIST:
    case SETTING_PHRASE:
    case SETTING_PHRASES:
        expect_text(expected, row->type->expected);
        break;
    }
}

static struct bytes nearest_choice(const struct setting *row, struct bytes word)
{
    struct cf_nearest nearest;
    bool is_number = row->kind <= SETTING_COUNT || row->kind == SETTING_DURATIONS;
    struct bytes rest = setting_choices(is_number ? NULL : row->allowed);
    struct bytes choice;
    if (row->kind == SETTING_FLAG)
        rest = bytes_of("yes|no");
    cf_nearest_init(&nearest, word);
    while (setting_next_choice(&rest, &choice))
        cf_nearest_offer(&nearest, choice);
    return cf_nearest_name(&nearest);
}

static int refuse(const struct given *given)
{
    struct expectation expected = {.len = 0};
    expect_kind(&expected, given->row);
    cf_error(given->problems, given->place, given->word->text,
             bytes_make(expected.at, expected.len), nearest_choice(given->row, given->word->text));
    return ERR_SYNTAX;
}

static int refuse_as(const struct given *given, const char *expected)
{
    cf_error(given->problems, given->place, given->word->text, bytes_of(expected),
             bytes_make(NULL, 0));
    return ERR_SYNTAX;
}

/* ---- reading ---- */

static int read_number(enum setting_kind kind, struct bytes word, uint64_t *number_out)
{
    if (kind == SETTING_DURATION || kind == SETTING_DURATIONS)
        return text_duration_ms(word, number_out);
    if (kind == SETTING_SIZE)
        return text_size_bytes(word, number_out);
    return text_decimal(word, UINT32_MAX, number_out);
}

static bool is_in_range(const struct setting *row, uint64_t number)
{
    struct bytes range = setting_choices(row->allowed);
    size_t dots = bytes_find(range, '.');
    uint64_t bound = 0;
    if (range.len < dots + 2)
        return true;
    if (read_number(row->kind, bytes_first(range, dots), &bound) == 0 && number < bound)
        return false;
    return read_number(row->kind, bytes_skip(range, dots + 2), &bound) != 0 || number <= bound;
}

static int assign_number(const struct given *given, void *member)
{
    uint64_t number;
    if (read_number(given->row->kind, given->word->text, &number) != 0 ||
        !is_in_range(given->row, number))
        return refuse(given);
    uint32_t count = (uint32_t)number;
    if (given->row->kind == SETTING_COUNT)
        memcpy(member, &count, sizeof count);
    else
        memcpy(member, &number, sizeof number);
    return 0;
}

static int assign_choice(const struct given *given, void *member)
{
    int position = find_choice(given->row->allowed, given->word->text, CASE_COUNTS);
    unsigned value = 0;
    if (position < 0)
        return refuse(given);
    if (given->row->kind == SETTING_CHOICES) {
        memcpy(&value, member, sizeof value);
        value |= given->row->bits[position];
    } else {
        value = (unsigned)position;
    }
    memcpy(member, &value, sizeof value);
    return 0;
}

static int assign_flag(const struct given *given, bool *member)
{
    int position = find_choice("no|yes", given->word->text, CASE_COUNTS);
    if (position < 0)
        return refuse(given);
    *member = position == 1;
    return 0;
}

static int read_text(const struct given *given, struct bytes *text_out)
{
    struct bytes text = given->word->text;
    const char *wrong = given->row->wrong == NULL ? NULL : given->row->wrong(text);
    if (wrong != NULL)
        return refuse_as(given, wrong);
    if (given->row->allowed != NULL) {
        int position = find_choice(given->row->allowed, text, CASE_IGNORED);
        if (position < 0)
            return refuse(given);
        text = setting_choice_at(given->row->allowed, (unsigned)position);
    }
    *text_out = text;
    return 0;
}

static int read_custom(const struct given *given, void *item_out)
{
    int error = given->row->type->parse(given->word->text, given->arena, item_out);
    return error == 0 || error == ERR_MEMORY ? error : refuse(given);
}

/* A wrong word is refused where it stands, a missing one where the phrase begins. */
static int read_phrase(const struct given *given, void *item_out)
{
    static const struct cf_word nothing = {.text = {(const uint8_t *)"", 0}};
    struct given wrong = *given;
    size_t at = 0;
    int error =
        given->row->type->parse_words(given->word, given->word_count, given->arena, item_out, &at);
    if (error == 0 || error == ERR_MEMORY)
        return error;
    if (at < given->word_count) {
        wrong.word = &given->word[at];
        wrong.place.column = wrong.word->column;
        return refuse(&wrong);
    }
    wrong.word = &nothing;
    return refuse(&wrong);
}

size_t setting_item_bytes(const struct setting *row)
{
    if (row->kind == SETTING_CUSTOM_LIST || row->kind == SETTING_PHRASES)
        return row->type->item_bytes;
    if (row->kind == SETTING_DURATIONS)
        return sizeof(uint64_t);
    return row->kind == SETTING_NETS ? sizeof(struct netmask) : sizeof(struct bytes);
}

static int read_item(const struct given *given, void *item_out)
{
    if (given->row->kind == SETTING_CUSTOM_LIST)
        return read_custom(given, item_out);
    if (given->row->kind == SETTING_PHRASES)
        return read_phrase(given, item_out);
    if (given->row->kind == SETTING_DURATIONS)
        return assign_number(given, item_out);
    if (given->row->kind == SETTING_TEXTS)
        return read_text(given, item_out);
    return netaddr_parse_mask(given->word->text, item_out) == 0 ? 0 : refuse(given);
}

static int append_item(const struct given *given, void *member)
{
    struct setting_list list;
    size_t item_bytes = setting_item_bytes(given->row);
    memcpy(&list, member, sizeof list);
    if ((list.count & (list.count - 1)) == 0) {
        size_t capacity = list.count == 0 ? 1 : 2 * list.count;
        void *items = arena_alloc(given->arena, capacity * item_bytes);
        if (items == NULL)
            return ERR_MEMORY;
        if (list.count > 0)
            memcpy(items, list.at, list.count * item_bytes);
        list.at = items;
    }
    int error = read_item(given, (char *)list.at + list.count * item_bytes);
    if (error != 0)
        return error;
    list.count++;
    memcpy(member, &list, sizeof list);
    return 0;
}

static int assign_word(const struct given *given, void *member)
{
    switch (given->row->kind) {
    case SETTING_DURATION:
    case SETTING_SIZE:
    case SETTING_COUNT:
        return assign_number(given, member);
    case SETTING_CHOICE:
    case SETTING_CHOICES:
        return assign_choice(given, member);
    case SETTING_FLAG:
        return assign_flag(given, member);
    case SETTING_TEXT:
        return read_text(given, member);
    case SETTING_CUSTOM:
        return read_custom(given, member);
    case SETTING_PHRASE:
        return read_phrase(given, member);
    case SETTING_TEXTS:
    case SETTING_NETS:
    case SETTING_DURATIONS:
    case SETTING_CUSTOM_LIST:
    case SETTING_PHRASES:
        break;
    }
    return append_item(given, member);
}

/* Values end up in replies, logs and paths: none may be empty or hold a control character. */
static int look_at_word(const struct given *given)
{
    struct bytes text = given->word->text;
    if (text.len == 0)
        return refuse_as(given, "a value that is not empty");
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < 0x20 || text.at[i] == 0x7F)
            return refuse_as(given, "a value without control characters");
    return 0;
}

/* Assigns all words as one value. */
static int assign_phrase(struct given *given, const struct cf_word *words, size_t word_count,
                         void *member)
{
    for (size_t i = 0; i < word_count; i++) {
        given->word = &words[i];
        given->place.column = words[i].column;
        int error = look_at_word(given);
        if (error != 0)
            return error;
    }
    given->word = words;
    given->word_count = word_count;
    given->place.column = words[0].column;
    return assign_word(given, member);
}

int setting_assign(const struct setting *row, void *conf, const struct cf_word *words,
                   size_t word_count, struct cf_place place, struct arena *arena,
                   struct cf_problems *problems)
{
    struct given given = {.row = row, .place = place, .arena = arena, .problems = problems};
    int result = 0;
    if (setting_is_phrase(row))
        return assign_phrase(&given, words, word_count, member_of(row, conf));
    if (word_count > 1 && !setting_is_list(row)) {
        given.word = &words[1];
        given.place.column = words[1].column;
        return refuse_as(&given, "the end of the line (a value with spaces stands in quotes)");
    }
    for (size_t i = 0; i < word_count; i++) {
        given.word = &words[i];
        given.place.column = words[i].column;
        int error = look_at_word(&given);
        if (error == 0)
            error = assign_word(&given, member_of(row, conf));
        if (error == ERR_MEMORY)
            return error;
        result = error == 0 ? result : error;
    }
    return result;
}

static size_t member_bytes(const struct setting *row)
{
    switch (row->kind) {
    case SETTING_DURATION:
    case SETTING_SIZE:
        return sizeof(uint64_t);
    case SETTING_COUNT:
        return sizeof(uint32_t);
    case SETTING_CHOICE:
    case SETTING_CHOICES:
        return sizeof(unsigned);
    case SETTING_FLAG:
        return sizeof(bool);
    case SETTING_TEXT:
        return sizeof(struct bytes);
    case SETTING_CUSTOM:
    case SETTING_PHRASE:
        return row->type->item_bytes;
    case SETTING_TEXTS:
    case SETTING_NETS:
    case SETTING_DURATIONS:
    case SETTING_CUSTOM_LIST:
    case SETTING_PHRASES:
        break;
    }
    return sizeof(struct setting_list);
}

void setting_clear(const struct setting *row, void *conf)
{
    memset(member_of(row, conf), 0, member_bytes(row));
}

int setting_default(const struct setting *row, void *conf, struct arena *arena)
{
    struct cf_problems problems;
    struct cf_place nowhere = {.file = "default"};
    struct cf_word words[DEFAULT_WORDS_MAX];
    struct bytes rest = setting_choices(row->initial);
    bool is_one_word = !setting_is_list(row) && !setting_is_phrase(row);
    size_t count = 0;
    cf_problems_init(&problems, arena);
    if (rest.len == 0)
        return 0;
    if (is_one_word)
        words[count++] = (struct cf_word){.text = rest};
    while (!is_one_word && rest.len > 0 && count < DEFAULT_WORDS_MAX)
        words[count++] = (struct cf_word){.text = text_word(&rest)};
    return setting_assign(row, conf, words, count, nowhere, arena, &problems);
}

/* ---- what several sections use ---- */

const char *setting_wrong_host(struct bytes value)
{
    return text_is_host_name(value) ? NULL : "a host name";
}

static int parse_address(struct bytes word, struct arena *arena, void *item_out)
{
    (void)arena;
    return netaddr_parse_with_port(word, 0, item_out) == 0 ? 0 : ERR_SYNTAX;
}

static void put_address(const void *item, struct buf *out)
{
    const struct netaddr *address = item;
    char text[NETADDR_TEXT_MAX];
    if (address->port == 0)
        buf_text(out, netaddr_text(address, text));
    else
        buf_text(out, netaddr_text_with_port(address, text));
}

const struct setting_type setting_address = {.expected = "ADDR, ADDR:PORT or [V6]:PORT",
                                             .item_bytes = sizeof(struct netaddr),
                                             .parse = parse_address,
                                             .put = put_address};
