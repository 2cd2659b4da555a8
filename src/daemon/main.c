/* quorated: the broker's daemon. Parses the command line, reads the
 * configuration, and hands over to the node. Exit codes: 0 stopped as asked,
 * 1 could not start or run, 2 wrong usage or configuration. */
#include <getopt.h>
#include <quorate/version.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "daemon/config.h"
#include "daemon/console.h"
#include "daemon/manual.h"
#include "daemon/node.h"
#include "net/tls_memory.h"

enum {
    EXIT_RUN = 1,
    EXIT_USAGE = 2
};

struct options {
    const char *config;
    bool check_only;
};

static const char usage[] =
    "usage: quorated [--config FILE] [--check-config]\n"
    "\n"
    "A message broker: AMQP 0-9-1 clients use it as they use RabbitMQ, and\n"
    "every queue is a Raft group on the disks of several nodes. Without a\n"
    "configuration it is a single node that keeps its data in\n"
    "./quorate-data and listens on port 5672.\n"
    "\n"
    "  -c, --config FILE   configuration: lines of `key = value`\n"
    "      --check-config  check it, say what is wrong, and stop\n"
    "  -V, --version       print the version\n"
    "  -h, --help          print this\n"
    "      --help-man      print this as a manual page\n"
    "\n"
    "SIGTERM and SIGINT stop it cleanly, SIGHUP has it read its certificates\n"
    "again. Keys of the configuration, with\n"
    "their defaults:\n"
    "\n";

static void
print_help(void)
{
    struct buf keys;

    buf_init(&keys);
    config_describe(&keys);
    (void)fputs(usage, stdout);
    (void)fwrite(keys.data, 1, keys.size, stdout);
    buf_deinit(&keys);
}

static void
print_manual(void)
{
    struct buf page;

    buf_init(&page);
    manual_describe(&page);
    (void)fwrite(page.data, 1, page.size, stdout);
    buf_deinit(&page);
}

/* 0 to go on, or an exit code with 256 added. */
static int
parse_options(int argc, char **argv, struct options *out)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, 'k'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {"help-man", no_argument, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    int c;

    /* There are no threads yet. NOLINTNEXTLINE(concurrency-mt-unsafe) */
    while ((c = getopt_long(argc, argv, "c:Vh", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            out->config = optarg;
            break;
        case 'k':
            out->check_only = true;
            break;
        case 'V':
            (void)printf("quorated %s\n", QR_VERSION_STRING);
            return 256;
        case 'h':
            print_help();
            return 256;
        case 'm':
            print_manual();
            return 256;
        default:
            (void)fprintf(stderr, "quorated --help says more\n");
            return 256 + EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr,
                      "quorated: '%s': there are no arguments, only options; "
                      "quorated --help lists them\n",
                      argv[optind]);
        return 256 + EXIT_USAGE;
    }
    return 0;
}

static int
run(const struct options *options, struct config *config)
{
    struct logger log = {.sink = console_sink_mt};
    struct error err = {{0}};
    int rv = 0;

    if (options->config != NULL) {
        rv = config_load(config, options->config, &err);
    }
    if (rv == 0) {
        rv = node_check(config, &err);
    }
    if (rv != 0) {
        (void)fprintf(stderr, "quorated: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (options->check_only) {
        (void)printf("%s: good\n",
                     options->config == NULL ? "defaults" : options->config);
        return 0;
    }
    log.level = config->log_console ? config->log_level : LOG_NONE;
    do {
        rv = node_run(config, &log, &err);
    } while (rv == NODE_AGAIN);
    if (rv != 0) {
        (void)fprintf(stderr, "quorated: %s\n", err.text);
        return EXIT_RUN;
    }
    return 0;
}

int
main(int argc, char **argv)
{
    struct options options = {0};
    struct config config;
    int rv = parse_options(argc, argv, &options);

    if (rv != 0) {
        return rv - 256;
    }
    tls_memory_init();
    config_init(&config);
    rv = run(&options, &config);
    config_deinit(&config);
    return rv;
}
