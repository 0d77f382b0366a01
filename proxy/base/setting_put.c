/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes members of a section's struct as they would stand in the file. */
#include "proxy/base/setting.h"

#include "proxy/base/setting_private.h"
#include "proxy/base/text.h"

static const void *member_of(const struct setting *row, const void *conf)
{
    return (const char *)conf + row->offset;
}

size_t setting_value_count(const struct setting *row, const void *conf)
{
    const void *member = member_of(row, conf);
    struct setting_list list;
    struct bytes text;
    unsigned set;
    if (row->kind == SETTING_TEXT) {
        memcpy(&text, member, sizeof text);
        return text.len == 0 ? 0 : 1;
    }
    if (row->kind == SETTING_CHOICES) {
        size_t count = 0;
        memcpy(&set, member, sizeof set);
        for (; set != 0; set &= set - 1)
            count++;
        return count;
    }
    if (!setting_is_list(row))
        return 1;
    memcpy(&list, member, sizeof list);
    return list.count;
}

static void put_choice(const struct setting *row, const void *member, size_t index, struct buf *out)
{
    unsigned value;
    memcpy(&value, member, sizeof value);
    if (row->kind == SETTING_CHOICES) {
        unsigned position = 0;
        for (;; position++) {
            assert(setting_choice_at(row->allowed, position).len > 0);
            if ((value & row->bits[position]) != 0 && index-- == 0)
                break;
        }
        value = position;
    }
    buf_put(out, setting_choice_at(row->allowed, value));
}

void setting_put_net(const struct netmask *mask, struct buf *out)
{
    char text[NETADDR_TEXT_MAX];
    buf_text(out, netaddr_text(&mask->net, text));
    if (mask->bits < (mask->net.family == NETADDR_IPV4 ? 32 : 128)) {
        buf_byte(out, '/');
        buf_decimal(out, mask->bits);
    }
}

static void put_item(const struct setting *row, const void *member, size_t index, struct buf *out)
{
    struct setting_list list;
    memcpy(&list, member, sizeof list);
    const void *item = (const char *)list.at + index * setting_item_bytes(row);
    uint64_t number;
    if (row->kind == SETTING_CUSTOM_LIST || row->kind == SETTING_PHRASES) {
        row->type->put(item, out);
    } else if (row->kind == SETTING_DURATIONS) {
        memcpy(&number, item, sizeof number);
        text_put_duration(out, number);
    } else if (row->kind == SETTING_NETS) {
        setting_put_net(item, out);
    } else {
        cf_put_word(out, *(const struct bytes *)item, false);
    }
}

void setting_put_value(const struct setting *row, const void *conf, size_t index, struct buf *out)
{
    const void *member = member_of(row, conf);
    uint64_t number = 0;
    uint32_t count = 0;
    switch (row->kind) {
    case SETTING_DURATION:
    case SETTING_SIZE:
        memcpy(&number, member, sizeof number);
        if (row->kind == SETTING_DURATION)
            text_put_duration(out, number);
        else
            text_put_size(out, number);
        break;
    case SETTING_COUNT:
        memcpy(&count, member, sizeof count);
        buf_decimal(out, count);
        break;
    case SETTING_FLAG:
        buf_text(out, *(const bool *)member ? "yes" : "no");
        break;
    case SETTING_TEXT:
        cf_put_word(out, *(const struct bytes *)member, false);
        break;
    case SETTING_CUSTOM:
    case SETTING_PHRASE:
        row->type->put(member, out);
        break;
    case SETTING_CHOICE:
    case SETTING_CHOICES:
        put_choice(row, member, index, out);
        break;
    case SETTING_TEXTS:
    case SETTING_NETS:
    case SETTING_DURATIONS:
    case SETTING_CUSTOM_LIST:
    case SETTING_PHRASES:
        put_item(row, member, index, out);
        break;
    }
}
