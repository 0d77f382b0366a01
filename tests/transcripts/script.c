/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads transcripts. */
#include "tests/transcripts/script.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
    const char *path;
    int line;
};

static void complain(const struct source *at, const char *what, const char *text)
{
    fprintf(stderr, "%s:%d: %s: %s\n", at->path, at->line, what, text);
    exit(2);
}

static void *must(void *block)
{
    if (block == NULL)
        abort();
    return block;
}

/* ---- texts ---- */

/* Undoes \r \n \\ \xNN, and adds `end`, `times` times. */
static void put_octets(struct step *step, const char *text, const char *end, uint64_t times)
{
    size_t most = strlen(text) + strlen(end), len = 0;
    char *one = must(malloc(most + 1)), *all;

    for (const char *c = text; *c != '\0'; c++) {
        unsigned octet = (unsigned char)*c;
        if (*c == '\\' && c[1] == 'x' && sscanf(c + 2, "%2x", &octet) == 1)
            c += 3;
        else if (*c == '\\' && c[1] != '\0')
            octet = *++c == 'r' ? '\r' : *c == 'n' ? '\n' : (unsigned char)*c;
        one[len++] = (char)octet;
    }
    memcpy(one + len, end, strlen(end));
    len += strlen(end);
    all = must(malloc(len * times + 1));
    for (uint64_t i = 0; i < times; i++)
        memcpy(all + i * len, one, len);
    free(one);
    step->text = all;
    step->length = len * times;
}

bool script_matches(const char *pattern, const char *text, size_t length)
{
    for (; *pattern != '\0'; pattern++, text++, length--) {
        if (*pattern == '*') {
            for (size_t skip = 0; skip <= length; skip++)
                if (script_matches(pattern + 1, text + skip, length - skip))
                    return true;
            return false;
        }
        if (length == 0 || *pattern != *text)
            return false;
    }
    return length == 0;
}

static uint64_t duration_of(const struct source *at, const char *text)
{
    char *end;
    uint64_t number = strtoull(text, &end, 10);

    if (end == text)
        complain(at, "not a duration", text);
    if (strcmp(end, "ms") == 0)
        return number;
    if (strcmp(end, "s") == 0)
        return number * 1000;
    if (strcmp(end, "m") == 0)
        return number * 60000;
    complain(at, "not a duration", text);
    return 0;
}

/* ---- lines ---- */

static struct step *add(struct script *s, const struct source *at, enum step_kind kind)
{
    s->steps = must(realloc(s->steps, (s->count + 1) * sizeof(*s->steps)));
    const char *slash = strrchr(at->path, '/');
    struct step *step = &s->steps[s->count++];

    *step = (struct step){.kind = kind, .line = at->line, .number = 1};
    snprintf(step->file, sizeof(step->file), "%s", slash == NULL ? at->path : slash + 1);
    return step;
}

/* "C", "C2", "T1", "S", and perhaps " x1000". Returns what follows, or NULL. */
static const char *read_actor(const struct source *at, const char *line, struct step *step_out)
{
    char *rest;
    unsigned long number = strtoul(line + 1, &rest, 10);

    if (strchr("CST", line[0]) == NULL || line[0] == '\0')
        return NULL;
    if (rest == line + 1)
        number = 1;
    if (strncmp(rest, " x", 2) == 0 && isdigit((unsigned char)rest[2]))
        step_out->number = strtoull(rest + 2, &rest, 10);
    if (strchr(":~<> ", rest[0]) == NULL || rest[0] == '\0')
        return NULL;
    if (number < 1 || number > SCRIPT_ACTORS)
        complain(at, "no such actor", line);
    step_out->is_target = line[0] == 'T';
    step_out->actor = (unsigned)number - 1;
    return rest;
}

/* What is said. False: it is something else. */
static bool read_words(struct script *s, const struct source *at, const char *line, bool begins)
{
    struct step said = {.number = 1};
    const char *rest = read_actor(at, line, &said), *text;
    struct step *step;
    bool is_heard;

    if (rest == NULL || *rest == ' ')
        return false;
    is_heard = line[0] == 'S' || *rest == '>';
    text = rest[1] == ' ' ? rest + 2 : rest + 1;
    step = add(s, at, is_heard ? STEP_HEAR : STEP_SEND);
    step->is_target = said.is_target;
    step->actor = said.actor;
    step->begins = begins;
    if (is_heard) {
        step->number = said.number;
        step->text = must(strdup(text));
        step->length = strlen(text);
    } else {
        put_octets(step, text, *rest == '~' ? "" : "\r\n", said.number);
    }
    return true;
}

static const struct {
    const char *words;
    enum step_kind kind;
    bool wants_address;
} doings[] = {
    {"connects", STEP_CONNECT, true},    {"accepts", STEP_CONNECT, true},
    {"refuses", STEP_REFUSE, true},      {"hangs", STEP_HANG, true},
    {"closes", STEP_CLOSE, false},       {"resets", STEP_RESET, false},
    {"shuts", STEP_SHUT, false},         {"stops reading", STEP_STOP_READING, false},
    {"reads", STEP_READ, false},         {"takes chunks", STEP_CHUNKS, false},
    {"is ignored", STEP_IGNORE, false},  {"is closed", STEP_ENDED, false},
    {"is waiting", STEP_WAITING, false},
};

static bool read_doing(struct script *s, const struct source *at, const char *line, bool begins)
{
    struct step said = {.number = 1};
    const char *rest = read_actor(at, line, &said);

    for (size_t i = 0; rest != NULL && i < sizeof(doings) / sizeof(doings[0]); i++) {
        size_t len = strlen(doings[i].words);
        if (strncmp(rest + 1, doings[i].words, len) != 0)
            continue;
        const char *address = rest + 1 + len;
        if (*address != '\0' && (*address != ' ' || !doings[i].wants_address))
            continue;
        struct step *step = add(s, at, doings[i].kind);
        step->is_target = said.is_target;
        step->actor = said.actor;
        step->begins = begins;
        step->about = must(strdup(*address == ' ' ? address + 1 : ""));
        return true;
    }
    return false;
}

/* "dns names 192.0.2.9 found 0s a.test", "disk sync 1 28", "signal TERM", "wait 3s". */
static bool read_world(struct script *s, const struct source *at, const char *line)
{
    char verb[16] = "", what[16] = "", about[256] = "", status[16] = "";
    int used = 0;
    struct step *step;

    if (sscanf(line, "dns %15s %255s %15s %15s %n", what, about, verb, status, &used) == 4) {
        char text[600];
        step = add(s, at, STEP_DNS);
        step->number = duration_of(at, status);
        step->about = must(strdup(about));
        snprintf(text, sizeof(text), "%c%c%s", what[0], verb[0], line + used);
        step->text = must(strdup(text));
    } else if (sscanf(line, "disk %15s %255s %15s", what, about, status) == 3) {
        step = add(s, at, STEP_DISK);
        step->about = must(strdup(what));
        step->number = strtoull(about, NULL, 10);
        step->length = strtoul(status, NULL, 10);
    } else if (sscanf(line, "signal %15s", what) == 1) {
        step = add(s, at, STEP_SIGNAL);
        step->number = strcmp(what, "TERM") == 0 ? SIGTERM : SIGHUP;
    } else if (sscanf(line, "wait %255s", about) == 1) {
        step = add(s, at, STEP_WAIT);
        step->number = duration_of(at, about);
    } else {
        return false;
    }
    return true;
}

/* "L: words", "F /path: words", "no F /path", "no F /path: words". */
static bool read_look(struct script *s, const struct source *at, const char *line)
{
    char about[256] = "";
    int used = 0;
    struct step *step;

    if (strncmp(line, "L: ", 3) == 0) {
        step = add(s, at, STEP_LOG);
        step->text = must(strdup(line + 3));
    } else if (sscanf(line, "F %255[^:]: %n", about, &used) == 1 && used > 0) {
        step = add(s, at, STEP_FILE);
        step->about = must(strdup(about));
        step->text = must(strdup(line + used));
    } else if (sscanf(line, "no F %255[^:]%n", about, &used) == 1) {
        step = add(s, at, STEP_NO_FILE);
        step->about = must(strdup(about));
        step->text = must(strdup(line[used] == ':' ? line + used + 2 : "*"));
    } else {
        return false;
    }
    return true;
}

/* "V> what is asked", "V< verdict", "V= verdict to the next question, at once". */
static bool read_filter(struct script *s, const struct source *at, const char *line)
{
    struct step *step;

    if (strncmp(line, "V> ", 3) != 0 && strncmp(line, "V< ", 3) != 0 &&
        strncmp(line, "V= ", 3) != 0)
        return false;
    step = add(s, at,
               line[1] == '>'   ? STEP_ASKED
               : line[1] == '<' ? STEP_VERDICT
                                : STEP_VERDICT_AHEAD);
    step->text = must(strdup(line + 3));
    step->length = strlen(step->text);
    return true;
}

static void read_line(struct script *s, const struct source *at, char *line, bool begins)
{
    size_t len = strlen(line);

    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        line[--len] = '\0';
    if (line[0] == '#' || line[0] == '\0')
        return;
    if (strcmp(line, "! whole") == 0)
        s->is_whole = true;
    else if (strncmp(line, "! filter ", 9) == 0 && s->filtered == NULL)
        s->filtered = must(strdup(line + 9));
    else if (!read_filter(s, at, line) && !read_words(s, at, line, begins) &&
             !read_doing(s, at, line, begins) && !read_look(s, at, line) &&
             !read_world(s, at, line))
        complain(at, "not understood", line);
}

static char *append(char *text, const char *more)
{
    size_t len = strlen(text);

    text = must(realloc(text, len + strlen(more) + 1));
    memcpy(text + len, more, strlen(more) + 1);
    return text;
}

/* In the head lines are configuration, below "---" steps; `include` works in both. */
static void read_file(struct script *s, const char *path, bool *is_head)
{
    FILE *file = fopen(path, "r");
    struct source at = {.path = path};
    char line[4096], name[128], beside[512];
    bool begins = true;

    if (file == NULL)
        complain(&at, "cannot be read", path);
    while (fgets(line, sizeof(line), file) != NULL) {
        at.line++;
        if (sscanf(line, "include %127s", name) == 1) {
            const char *slash = strrchr(path, '/');
            snprintf(beside, sizeof(beside), "%.*s%s", slash == NULL ? 0 : (int)(slash + 1 - path),
                     path, name);
            read_file(s, beside, is_head);
        } else if (strncmp(line, "---", 3) == 0) {
            *is_head = false;
        } else if (*is_head) {
            s->config = append(s->config, line);
        } else {
            read_line(s, &at, line, begins);
        }
        begins = line[0] == '\n' || line[0] == '\0' || strncmp(line, "include", 7) == 0;
    }
    fclose(file);
}

void script_read(const char *path, struct script *script_out)
{
    bool is_head = true;

    *script_out = (struct script){.path = path, .config = must(calloc(1, 1))};
    read_file(script_out, path, &is_head);
}

void script_free(struct script *s)
{
    union {
        const char *kept;
        void *block;
    } text;

    for (size_t i = 0; i < s->count; i++) {
        text.kept = s->steps[i].text;
        free(text.block);
        text.kept = s->steps[i].about;
        free(text.block);
    }
    free(s->steps);
    free(s->filtered);
    free(s->config);
}

uint64_t script_octets(const struct script *s, bool is_target, unsigned actor)
{
    uint64_t octets = 0;

    for (size_t i = 0; i < s->count; i++)
        if (s->steps[i].kind == STEP_SEND && s->steps[i].is_target == is_target &&
            s->steps[i].actor == actor)
            octets += s->steps[i].length;
    return octets;
}
