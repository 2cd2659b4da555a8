/* The simulated disk's own structures, shared by its two files. */
#ifndef STORE_DISK_SIM_IMPL_H
#define STORE_DISK_SIM_IMPL_H

#include "base/list.h"
#include "base/map.h"
#include "store/disk.h"
#include "store/disk_sim.h"

enum {
    SIM_MAGIC = 0x53494d44,
    SIM_SECTOR = 512
};

struct sim_file {
    char name[DISK_NAME_SIZE];
    uint64_t size;
    uint8_t *cache;
    uint8_t *platter;
    bool *dirty;        /* by sector */
    bool *bad;          /* by sector: cannot be read; NULL: none */
    size_t dirty_first; /* no sector before it, */
    size_t dirty_limit; /* or from it on, is dirty */
    size_t opens;       /* handles on it */
    bool gone;          /* removed; freed with the last handle */
};

struct sim_handle {
    struct disk_file base;
    struct sim_file *file;
    struct list link;
};

enum sim_kind {
    SIM_CREATE,
    SIM_WRITE,
    SIM_READ,
    SIM_DISCARD
};

struct sim_req {
    struct list link;
    enum sim_kind kind;
    struct disk_req *req;
};

struct disk_sim {
    unsigned magic;
    struct disk base;
    struct rng *rng;
    uint64_t capacity;
    struct strmap files;
    struct list handles;
    struct list queue;
    size_t queue_count;
    bool holds_reads;
    void (*notify)(void *arg);
    void *notify_arg;
    bool stops; /* after `stop_after` more operations */
    uint64_t stop_after;
    uint64_t fail_after;
    int fail_error;
    uint64_t fail_reads_after;
    int fail_reads_error;
    struct disk_sim_stats stats;
};

/* Bytes to sectors, rounded up. */
size_t disk_sim_sectors(uint64_t size);
/* A new file of zeros, on the platter too. */
struct sim_file *disk_sim_file_new(struct disk_sim *d, const char *name,
                                   uint64_t size);
/* F goes: at once, or with its last handle. */
void disk_sim_file_remove(struct disk_sim *d, struct sim_file *f);
/* NULL: there is none. */
struct sim_file *disk_sim_find(const struct disk_sim *d, const char *name);
/* Count an operation; whether the machine has stopped before it. */
bool disk_sim_is_over(struct disk_sim *d);
/* Whether SIZE bytes of F at OFFSET touch a bad sector. */
bool disk_sim_is_bad(const struct sim_file *f, uint64_t offset, uint64_t size);

#endif
