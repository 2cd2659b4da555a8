/* Reading content that lies in several slices. */
#include "base/rng.h"
#include "broker/frame_reader.h"
#include "lib/harness.h"
#include "peer/frame.h"

Test(frame_reader, reads_the_same_however_content_is_cut)
{
    uint8_t bytes[1000];
    struct rng rng;

    rng_init(&rng, 7);
    rng_fill(&rng, bytes, sizeof(bytes));
    for (int run = 0; run < 200; run++) {
        struct frame *f = frame_new(FRAME_CALL, FRAME_BROKER_FIRST);
        struct frame_reader r;
        size_t at = 0;

        while (at < sizeof(bytes)) {
            size_t n = rng_below(&rng, 200);

            n = MIN(n, sizeof(bytes) - at);
            frame_add(f, slice_copy(bytes + at, n));
            at += n;
        }
        frame_reader_init(&r, f);
        at = 0;
        while (at < sizeof(bytes)) {
            size_t n = rng_below(&rng, 300);
            struct slice s;

            n = MIN(n, sizeof(bytes) - at);
            cr_assert(frame_reader_take(&r, n, &s));
            cr_assert_eq(s.size, n);
            cr_assert_arr_eq(s.data, bytes + at, n);
            slice_unref(&s);
            at += n;
        }
        frame_free(&f);
    }
}

Test(frame_reader, refuses_more_than_there_is)
{
    struct frame *f = frame_new(FRAME_CALL, FRAME_BROKER_FIRST);
    struct frame_reader r;
    struct slice s;

    frame_add(f, slice_copy("abc", 3));
    frame_add(f, slice_copy("de", 2));
    frame_reader_init(&r, f);
    cr_assert_not(frame_reader_take(&r, 6, &s));
    cr_assert(frame_reader_take(&r, 5, &s));
    slice_unref(&s);
    cr_assert_not(frame_reader_take(&r, 1, &s));
    cr_assert(frame_reader_take(&r, 0, &s));
    frame_free(&f);
}
