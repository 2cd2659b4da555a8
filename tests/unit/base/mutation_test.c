/* Planted bugs are asleep, and absent from a build that did not ask for them;
 * tests/sim/mutations.sh wakes them. */
#include "base/mutation.h"
#include "lib/harness.h"

Test(mutation, none_is_awake_unless_it_is_called)
{
    struct buf list;

    cr_assert_not(mutation_select("no_such_bug"));
    cr_assert_not(MUTATION(skip_sync));
    buf_init(&list);
    mutation_list(&list);
    cr_assert_gt(list.size, 0);
    buf_deinit(&list);
#ifdef QUORATE_MUTATIONS
    cr_assert(mutation_select("skip_sync"));
    cr_assert(MUTATION(skip_sync));
#else
    cr_assert_not(mutation_select("skip_sync"));
#endif
}
