/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/report_world.h"

void report_world_begin(struct report_world *w)
{
    int error = 0;

    *w = (struct report_world){
        .conf = {.hostname = bytes_of("mx.example.net"), .postmaster = bytes_of("postmaster")}};
    pool_init(&w->pool, 4096, 4);
    arena_init(&w->arena, &w->pool, 1 << 20);
    w->loop = loop_new();
    w->store = store_open(w->loop, bytes_of("/spool"), NULL, &error);
    assert_int_equal(error, 0);
}

int report_world_end(struct report_world *w)
{
    store_close(w->store);
    store_free(&w->store);
    arena_reset(&w->arena);
    pool_done(&w->pool);
    loop_free(&w->loop);
    return 0;
}

struct address report_world_joe(void)
{
    return (struct address){.local = bytes_of("joe"), .domain = bytes_of("example.org")};
}

void report_world_put(struct report_world *w, struct store_place *place_out)
{
    struct id id = {.text = "06H4TZ0BC00F3X04"};
    struct bytes body = bytes_of(REPORT_WORLD_TEXT);
    struct copy_image image = {.fd = -1,
                               .length = body.len,
                               .pieces = &body,
                               .piece_count = 1,
                               .drafts = store_drafts(w->store)};
    struct spool_message m = {
        .envelope.from.local = bytes_of("ann"), .view = view_whole(), .recipient_count = 1};
    struct spool_recipient r = {.original = report_world_joe(),
                                .to = report_world_joe(),
                                .target = bytes_of("home"),
                                .fate = FATE_REFUSED,
                                .reply = bytes_of("550 5.1.1 no")};
    struct spool_writer writer = {.id = id};
    struct buf records;

    buf_init(&records, &w->pool, 1 << 20);
    writer.out = &records;
    writer.at = spool_records_at(&(struct spool_head){.body_bytes = body.len});
    m.envelope.id = id;
    spool_put_message(&writer, &m);
    spool_put_recipient(&writer, &r);
    *place_out = store_next_place(w->store, &id);
    assert_int_equal(store_commit(w->store, &image, place_out, buf_bytes(&records)), 0);
    draft_close(image.drafts, image.fd);
    buf_done(&records);
}

int report_world_take(struct report_world *w, const struct store_place *place,
                      struct spool_message *message_out)
{
    int fd;

    assert_int_equal(store_take(w->store, place, &fd), 0);
    assert_int_equal(store_read(fd, &place->id, &w->arena, message_out), 0);
    return fd;
}
