/* One test macro, two runners.
 *
 * Test(suite, sentence) is Criterion's, with its cr_assert family. Criterion
 * gives each test a process of its own, but it cannot map its arena under
 * ThreadSanitizer (Snaipe/Criterion#274, 2.4.1). There the same bodies run
 * one after the other in one process: plain.h declares the part of
 * Criterion's interface that tests keep to, and runner.c drives them.
 */
#ifndef TESTS_LIB_HARNESS_H
#define TESTS_LIB_HARNESS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#    define HARNESS_PLAIN 1
#elif defined(__has_feature)
#    if __has_feature(thread_sanitizer)
#        define HARNESS_PLAIN 1
#    endif
#endif

#ifdef HARNESS_PLAIN
#    include "lib/plain.h"
#else
#    include <criterion/criterion.h>
#endif

#endif
