/* SPDX-License-Identifier: BSD-2-Clause */
/* What one filter does to a message. */
#include "filters/edits.h"

#include "proxy/base/error.h"
#include "proxy/base/list.h"
#include "proxy/smtp/header_field.h"

void edits_init(struct edits *edits, struct arena *arena)
{
    *edits = (struct edits){.arena = arena};
}

int edits_add(struct edits *edits, const struct filter_edit *told)
{
    struct edit *edit = arena_alloc(edits->arena, sizeof(*edit));

    assert(told->kind != FILTER_REPLACE_BODY);
    if (edit == NULL || arena_copy(edits->arena, told->name, &edit->told.name) != 0 ||
        arena_copy(edits->arena, told->value, &edit->told.value) != 0 ||
        arena_copy(edits->arena, told->params, &edit->told.params) != 0)
        return ERR_MEMORY;
    edit->told.kind = told->kind;
    edit->told.index = told->index;
    if (edits->first == NULL)
        edits->first = edit;
    else
        edits->last->next = edit;
    edits->last = edit;
    edits->kinds |= FILTER_EDIT(told->kind);
    edits->bytes += told->name.len + told->value.len + sizeof(":\r\n") - 1;
    return 0;
}

/* ---- the header ---- */

/* A field of the header in the making: as it was, or as an edit made it. */
struct field {
    struct list in_header;
    struct bytes raw;               /* whole; empty: see `edit` */
    const struct filter_edit *edit; /* name and value; NULL: `raw` */
    bool counts;                    /* FILTER_CHANGE_FIELD counts it */
    bool is_gone;                   /* deleted, and still counted */
    bool is_above;                  /* our own Received */
    bool is_on_top;                 /* put by this filter above all that it was shown */
};

struct header {
    struct list fields;
    struct arena *arena;
};

static struct field *field_of(struct list *link)
{
    return LIST_ENTRY(link, struct field, in_header);
}

/* Puts a new field before `next`. NULL: no memory. */
static struct field *add(struct header *h, struct list *next, const struct filter_edit *edit)
{
    struct field *f = arena_alloc(h->arena, sizeof(*f));

    if (f == NULL)
        return NULL;
    f->edit = edit;
    list_append(next, &f->in_header);
    return f;
}

static bool read_header(struct header *h, struct bytes header, size_t above)
{
    struct bytes rest = header;

    while (rest.len > 0) {
        struct field *f = add(h, &h->fields, NULL);
        if (f == NULL)
            return false;
        f->is_above = header.len - rest.len < above;
        f->raw = header_field_take(&rest);
        f->counts = true;
    }
    return true;
}

static bool is_named(const struct field *f, struct bytes name)
{
    struct bytes own = f->edit != NULL ? f->edit->name : header_field_name(f->raw);

    return bytes_equal_nocase(own, name);
}

static bool append_field(struct header *h, const struct filter_edit *edit)
{
    struct field *f = add(h, &h->fields, edit);

    if (f != NULL)
        f->counts = true;
    return f != NULL;
}

/* Index 0 is the top of the message as it will be delivered. Filters are written for mail servers
 * whose own Received, which they do not show, stands above all that they show and has a number like
 * any other field. */
static bool insert_field(struct header *h, const struct filter_edit *edit)
{
    struct list *next = h->fields.next;
    uint32_t left = edit->index;
    bool is_on_top = true; /* above that Received */
    struct field *f;

    for (; next != &h->fields; next = next->next) {
        if (field_of(next)->is_gone)
            continue;
        if (is_on_top && !field_of(next)->is_on_top) {
            is_on_top = left == 0;
            left -= !is_on_top;
        }
        if (left == 0)
            break;
        left--;
    }
    f = add(h, next, edit);
    if (f == NULL)
        return false;
    f->is_on_top = is_on_top && left == 0;
    f->is_above = f->is_on_top || (next != &h->fields && field_of(next)->is_above);
    return true;
}

static bool change_field(struct header *h, const struct filter_edit *edit)
{
    uint32_t left = edit->index == 0 ? 1 : edit->index;

    LIST_EACH (link, &h->fields) {
        struct field *f = field_of(link);
        if (!f->counts || !is_named(f, edit->name) || --left > 0)
            continue;
        f->is_gone = edit->value.len == 0;
        f->edit = edit;
        return true;
    }
    return edit->value.len == 0 || append_field(h, edit);
}

static bool make(struct header *h, const struct filter_edit *edit)
{
    switch (edit->kind) {
    case FILTER_ADD_FIELD:
        return append_field(h, edit);
    case FILTER_INSERT_FIELD:
        return insert_field(h, edit);
    case FILTER_CHANGE_FIELD:
        return change_field(h, edit);
    case FILTER_REPLACE_BODY:
    case FILTER_CHANGE_SENDER:
    case FILTER_ADD_RCPT:
    case FILTER_DELETE_RCPT:
    case FILTER_QUARANTINE:
        break;
    }
    return true;
}

static void put(struct buf *out, const struct field *f)
{
    if (f->is_gone)
        return;
    if (f->edit == NULL) {
        buf_put(out, f->raw);
        return;
    }
    buf_put(out, f->edit->name);
    buf_byte(out, ':');
    buf_put(out, f->edit->value);
    buf_text(out, "\r\n");
}

bool edits_put_header(const struct edits *edits, struct bytes header, size_t *above,
                      struct buf *out)
{
    struct header h = {.arena = edits->arena};
    size_t before = buf_length(out);

    list_init(&h.fields);
    if (!read_header(&h, header, *above))
        return false;
    for (const struct edit *e = edits->first; e != NULL; e = e->next)
        if (!make(&h, &e->told))
            return false;
    LIST_EACH (link, &h.fields) {
        put(out, field_of(link));
        if (field_of(link)->is_above)
            *above = buf_length(out) - before;
    }
    return !out->has_failed;
}
