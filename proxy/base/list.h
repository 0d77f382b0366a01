/* SPDX-License-Identifier: BSD-2-Clause */
/* An intrusive, circular, doubly linked list: the head and the links are of one type. */
#ifndef POSTERN_LIST_H
#define POSTERN_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/bytes.h"

/* As a head: points at itself when empty. As a link: points at itself when in no list, so that
 * list_remove() may be called on a link that is in none, any number of times. */
struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Moves all links of `from`, in their order, behind those of `head`. */
static inline void list_move_all(struct list *head, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = head->prev;
    from->prev->next = head;
    head->prev->next = from->next;
    head->prev = from->prev;
    list_init(from);
}

/* NULL when the list is empty. */
static inline struct list *list_first(const struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

#define LIST_ENTRY(link_pointer, type, member) CONTAINER_OF(link_pointer, type, member)

/* Visits each link; the body may remove the visited one, and no other. */
#define LIST_EACH(link, head)                                                                      \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head);              \
         link = link##_next, link##_next = link->next)

#endif
