/* The simulated disk's own structures, shared by its three files. */
#ifndef STORE_DISK_SIM_IMPL_H
#define STORE_DISK_SIM_IMPL_H

#include "base/list.h"
#include "base/map.h"
#include "store/disk.h"
#include "store/disk_sim.h"

enum {
    SIM_MAGIC = 0x53494d44,
    SIM_SECTOR = 512,
    SIM_SPARES_MAX = 4
};

/* What a file that is gone was stored in. */
struct sim_spare {
    uint8_t *bytes;
    uint64_t size;
    uint64_t used;
};

struct sim_file {
    char name[DISK_NAME_SIZE];
    uint64_t size;
    uint8_t *bytes;     /* what a reader sees */
    uint64_t used;      /* there are only zeros from here on */
    uint32_t *dirty;    /* by sector: 1 + which of `saved`; 0: it is clean */
    uint8_t *saved;     /* what the platter holds of the dirty sectors */
    size_t saved_count; /* sectors */
    size_t saved_capacity;
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
    struct sim_spare spares[SIM_SPARES_MAX];
    size_t spares_count;
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
/* What the platter holds of SECTOR, as many bytes as the file has there. */
const uint8_t *disk_sim_platter(const struct sim_file *f, size_t sector);
/* Bytes of F in SECTOR: fewer than SIM_SECTOR only in its last. */
size_t disk_sim_sector_size(const struct sim_file *f, size_t sector);
/* Fill F, which is clean, with SIZE bytes at DATA, on the platter too. */
void disk_sim_file_fill(struct sim_file *f, const void *data, size_t size);
/* Change one byte of F, on the platter too. */
void disk_sim_file_flip(struct sim_file *f, uint64_t offset, uint8_t mask);
/* DATA gets into the page cache of F, within its size. */
void disk_sim_file_write(struct sim_file *f, uint64_t offset, const void *data,
                         size_t size);
/* What is in the page cache of F gets to the platter. */
void disk_sim_file_sync(struct sim_file *f);
/* Bytes of this process that F takes. */
uint64_t disk_sim_file_memory(const struct sim_file *f);
/* Free F, which nobody has open and no name leads to. */
void disk_sim_file_free(struct disk_sim *d, struct sim_file *f);
/* F goes: at once, or with its last handle. */
void disk_sim_file_remove(struct disk_sim *d, struct sim_file *f);
/* NULL: there is none. */
struct sim_file *disk_sim_find(const struct disk_sim *d, const char *name);
/* Count an operation; whether the machine has stopped before it. */
bool disk_sim_is_over(struct disk_sim *d);
/* Whether SIZE bytes of F at OFFSET touch a bad sector. */
bool disk_sim_is_bad(const struct sim_file *f, uint64_t offset, uint64_t size);

#endif
