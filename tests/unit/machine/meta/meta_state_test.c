/* Texts, and that what is made is unmade. */
#include "lib/harness.h"
#include "machine/meta/meta_state.h"
#include "world.h"

Test(meta_state, texts_are_copied_and_end_in_a_nul)
{
    char source[] = "abc";
    struct meta_text t = meta_text_dup(meta_text(source, 2));

    source[0] = 'x';
    cr_assert_eq(t.size, 2U);
    cr_assert_str_eq(t.data, "ab");
    meta_text_set(&t, t);
    cr_assert_str_eq(t.data, "ab");
    meta_text_set(&t, text("longer than before"));
    cr_assert_str_eq(t.data, "longer than before");
    meta_text_drop(&t);
    cr_assert_str_eq(t.data, "");
    t = meta_text_dup(meta_text(NULL, 0));
    cr_assert_str_eq(t.data, "");
    meta_text_drop(&t);
}

Test(meta_state, texts_are_in_the_order_of_bytes)
{
    cr_assert_eq(meta_text_compare(text(""), text("")), 0);
    cr_assert_lt(meta_text_compare(text(""), text("a")), 0);
    cr_assert_lt(meta_text_compare(text("a"), text("ab")), 0);
    cr_assert_gt(meta_text_compare(text("b"), text("ab")), 0);
    cr_assert_gt(meta_text_compare(text("\xff"), text("a")), 0);
    cr_assert(meta_text_is(text("a"), text("a")));
    cr_assert(!meta_text_is(text("a"), text("b")));
    cr_assert(!meta_text_is(text("a"), text("aa")));
}

Test(meta_state, a_record_is_recognised_by_its_public_part)
{
    struct world w;

    world_init_cluster(&w);
    cr_assert_eq(world_queue(&w, "q"), META_OK);
    cr_assert_eq(&meta_queue_of(world_find_queue(&w, "q"))->pub,
                 world_find_queue(&w, "q"));
    cr_assert_eq(&meta_vhost_of(world_root(&w))->pub, world_root(&w));
    world_deinit(&w);
}

Test(meta_state, something_else_is_no_record, .signal = SIGABRT)
{
    static struct meta_queue_record not_one;

    (void)meta_queue_of(&not_one.pub);
}
