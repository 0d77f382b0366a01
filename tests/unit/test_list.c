/* SPDX-License-Identifier: BSD-2-Clause */
/* The list: order, and links that are in none. */
#include "proxy/base/list.h"

#include "tests/unit/lib.h"

struct item {
    int number;
    struct list link;
};

static void is_in_order(const struct list *head, const char *expected)
{
    char seen[8] = "";
    size_t len = 0;

    LIST_EACH (link, head)
        seen[len++] = (char)('0' + LIST_ENTRY(link, struct item, link)->number);
    assert_string_equal(seen, expected);
}

static void keeps_order(void **state)
{
    struct item items[4];
    struct list head;

    (void)state;
    list_init(&head);
    assert_null(list_first(&head));
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_init(&items[i].link);
    }
    list_append(&head, &items[1].link);
    list_append(&head, &items[2].link);
    list_prepend(&head, &items[0].link);
    list_append(&head, &items[3].link);
    is_in_order(&head, "0123");
    assert_ptr_equal(list_first(&head), &items[0].link);
    list_remove(&items[1].link);
    list_remove(&items[1].link);
    is_in_order(&head, "023");
    LIST_EACH (link, &head) {
        if (LIST_ENTRY(link, struct item, link)->number != 2)
            list_remove(link);
    }
    is_in_order(&head, "2");
    list_remove(&items[2].link);
    assert_true(list_is_empty(&head));
    assert_true(list_is_empty(&items[2].link));
}

static void moves_all(void **state)
{
    struct item items[4];
    struct list head, from;

    (void)state;
    list_init(&head);
    list_init(&from);
    list_move_all(&head, &from);
    is_in_order(&head, "");
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_append(i < 2 ? &head : &from, &items[i].link);
    }
    list_move_all(&head, &from);
    is_in_order(&head, "0123");
    assert_true(list_is_empty(&from));
    list_move_all(&from, &head);
    is_in_order(&from, "0123");
    assert_true(list_is_empty(&head));
    list_remove(&items[3].link);
    list_remove(&items[0].link);
    is_in_order(&from, "12");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(moves_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
