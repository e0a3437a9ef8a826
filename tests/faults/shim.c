/* Stands between a process and the C library (LD_PRELOAD), and counts every operation by which
 * a file below one folder changes: so also those of SQLite, HDF5, NumPy and TensorFlow.
 *
 * What it does is said in a small file that is mapped into every process (FAULT_CONTROL): so a
 * test can change it while they run, and all processes together count as one. At operation
 * `at` of the wanted kinds it fails with an error number, or kills the driver, the first process
 * that loaded it. What succeeded is written to FAULT_LOG, with its data: disk.py makes of that
 * the state of the disk after any operation, and what a power cut would leave of it.
 *
 * A buffered stream hides its writes from us; streams below the folder are unbuffered therefore.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* As shim.py packs it. */
struct control {
    int64_t at;      /* The operation at which it happens, from 1; 0: never. */
    int64_t count;   /* Operations of the wanted kinds so far. */
    int64_t fired;   /* How often it happened. */
    int32_t kinds;   /* Bits of the kinds that are counted. */
    int32_t error;   /* The error number; -1: kill the driver. */
    int32_t forever; /* From then on, rather than once. */
    int32_t driver;  /* Process to kill. */
    int32_t logging; /* Whether to log what succeeds. */
    char root[1024]; /* The folder; without a slash at its end. */
    char last[1024]; /* What it happened to. */
};

enum kind { OPEN, WRITE, SYNC, RENAME, REMOVE, MAKE, TRUNCATE };

/* A record of the log: this, then two paths and the data. */
struct record {
    uint32_t kind, length1, length2, size;
    uint64_t inode, number;
};

static struct control *control;
static int log_to = -1;

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("FAULT_CONTROL");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (found == MAP_FAILED) return;
    control = found;
    int32_t nobody = 0;
    __atomic_compare_exchange_n(&control->driver, &nobody, getpid(), 0, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    if ((path = getenv("FAULT_LOG")))
        log_to = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

/* ---- which file it is */

static int is_below(const char *path) {
    if (!control || !control->root[0]) return 0;
    size_t length = strlen(control->root);
    return !strncmp(path, control->root, length) && (path[length] == '/' || !path[length]);
}

/* The path of an open file; empty where it is none of ours. */
static const char *path_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return is_below(path) ? path : "";
}

/* The whole path of a name that counts from an open folder or the working directory. */
static const char *join(int folder, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        char base[PATH_MAX] = "";
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) base[0] = 0;
        } else {
            path_of(folder, base);
        }
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) path[0] = 0;
    }
    return is_below(path) ? path : "";
}

/* ---- counting, failing, logging */

/* 0, or the error number with which this operation must fail. */
static int meets_fault(enum kind kind, const char *path) {
    if (!path[0] || !(control->kinds >> kind & 1)) return 0;
    int64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    if (!control->at || (control->forever ? number < control->at : number != control->at)) return 0;
    __atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST);
    snprintf(control->last, sizeof control->last, "%d %s", kind, path);
    if (control->error >= 0) return control->error;
    kill(control->driver, SIGKILL);
    return 0;
}

static uint64_t inode_of(int file, const char *path) {
    struct stat found;
    return (path ? lstat(path, &found) : fstat(file, &found)) ? 0 : found.st_ino;
}

static void note(enum kind kind, const char *path1, const char *path2, uint64_t inode,
                 uint64_t number, const void *data, size_t size) {
    if (log_to < 0 || !control->logging || !path1[0]) return;
    int error = errno;
    struct record head = {kind, strlen(path1), strlen(path2), size, inode, number};
    struct iovec parts[] = {{&head, sizeof head},
                            {(void *)path1, head.length1},
                            {(void *)path2, head.length2},
                            {(void *)data, size}};
    syscall(SYS_writev, log_to, parts, 4);
    errno = error;
}

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(kind, path, value)                      \
    do {                                                \
        int error_ = meets_fault(kind, path);           \
        if (error_) { errno = error_; return value; }   \
    } while (0)

/* ---- opening */

static int open_(int folder, const char *name, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *path = flags & (O_CREAT | O_TRUNC) ? join(folder, name, buffer) : "";
    if (!path[0]) return syscall(SYS_openat, folder, name, flags, mode);
    int was_there = !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
    FAIL_IF(OPEN, path, -1);
    int file = syscall(SYS_openat, folder, name, flags, mode);
    if (file >= 0 && (!was_there || flags & O_TRUNC))
        note(OPEN, path, "", inode_of(file, NULL), was_there, NULL, 0);
    return file;
}

#define MODE(flags, mode)                                   \
    mode_t mode = 0;                                        \
    if (flags & (O_CREAT | O_TMPFILE)) {                    \
        va_list rest;                                       \
        va_start(rest, flags);                              \
        mode = va_arg(rest, mode_t);                        \
        va_end(rest);                                       \
    }

int open(const char *name, int flags, ...) { MODE(flags, m) return open_(AT_FDCWD, name, flags, m); }
int open64(const char *name, int flags, ...) { MODE(flags, m) return open_(AT_FDCWD, name, flags, m); }
int openat(int f, const char *name, int flags, ...) { MODE(flags, m) return open_(f, name, flags, m); }
int openat64(int f, const char *name, int flags, ...) { MODE(flags, m) return open_(f, name, flags, m); }

static FILE *unbuffered(FILE *stream) {
    char buffer[PATH_MAX];
    if (stream && path_of(fileno(stream), buffer)[0]) setvbuf(stream, NULL, _IONBF, 0);
    return stream;
}

static FILE *fopen_(const char *name, const char *mode, FILE *(*real)(const char *, const char *)) {
    char buffer[PATH_MAX];
    const char *path = mode[0] == 'r' ? "" : join(AT_FDCWD, name, buffer);
    int was_there = path[0] && !syscall(SYS_faccessat, AT_FDCWD, path, F_OK);
    FAIL_IF(OPEN, path, NULL);
    FILE *stream = real(name, mode);
    if (stream && (!was_there || mode[0] == 'w'))
        note(OPEN, path, "", inode_of(fileno(stream), NULL), was_there, NULL, 0);
    return path[0] ? unbuffered(stream) : stream;
}

FILE *fopen(const char *name, const char *mode) { return fopen_(name, mode, REAL(fopen)); }
FILE *fopen64(const char *name, const char *mode) { return fopen_(name, mode, REAL(fopen64)); }
FILE *fdopen(int file, const char *mode) { return unbuffered(REAL(fdopen)(file, mode)); }

/* ---- writing */

static ssize_t written(int file, const char *path, const void *data, ssize_t size, off_t offset) {
    if (size > 0 && path[0]) {
        if (offset < 0) offset = lseek(file, 0, SEEK_CUR) - size;
        note(WRITE, path, "", inode_of(file, NULL), offset, data, size);
    }
    return size;
}

ssize_t write(int file, const void *data, size_t size) {
    char buffer[PATH_MAX];
    const char *path = path_of(file, buffer);
    FAIL_IF(WRITE, path, -1);
    return written(file, path, data, syscall(SYS_write, file, data, size), -1);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
    char buffer[PATH_MAX];
    const char *path = path_of(file, buffer);
    FAIL_IF(WRITE, path, -1);
    return written(file, path, data, syscall(SYS_pwrite64, file, data, size, offset), offset);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
    return pwrite64(file, data, size, offset);
}

/* One buffer at a time: a short count is allowed. */
ssize_t writev(int file, const struct iovec *parts, int count) {
    char buffer[PATH_MAX];
    if (!path_of(file, buffer)[0]) return syscall(SYS_writev, file, parts, count);
    for (; count > 0 && !parts->iov_len; parts++) count--;
    return count > 0 ? write(file, parts->iov_base, parts->iov_len) : 0;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    char buffer[PATH_MAX];
    const char *path = path_of(fileno(stream), buffer);
    FAIL_IF(WRITE, path, 0);
    size_t done = REAL(fwrite)(data, size, count, stream);
    written(fileno(stream), path, data, done * size, -1);
    return done;
}

/* Whoever copies in the kernel falls back on reading and writing. */
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    char buffer[PATH_MAX];
    if (!path_of(out, buffer)[0]) return syscall(SYS_sendfile, out, in, offset, size);
    errno = ENOTSOCK;
    return -1;
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    return sendfile(out, in, offset, size);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    char buffer[PATH_MAX];
    if (!path_of(out, buffer)[0]) return syscall(SYS_copy_file_range, in, from, out, to, size, flags);
    errno = EXDEV;
    return -1;
}

static int truncate_(int file, off_t length) {
    char buffer[PATH_MAX];
    const char *path = path_of(file, buffer);
    FAIL_IF(TRUNCATE, path, -1);
    int failed = syscall(SYS_ftruncate, file, length);
    if (!failed) note(TRUNCATE, path, "", inode_of(file, NULL), length, NULL, 0);
    return failed;
}

int ftruncate(int file, off_t length) { return truncate_(file, length); }
int ftruncate64(int file, off64_t length) { return truncate_(file, length); }

/* ---- flushing */

static int sync_(int file, long call) {
    char buffer[PATH_MAX];
    const char *path = path_of(file, buffer);
    FAIL_IF(SYNC, path, -1);
    int failed = syscall(call, file);
    if (!failed) note(SYNC, path, "", inode_of(file, NULL), 0, NULL, 0);
    return failed;
}

int fsync(int file) { return sync_(file, SYS_fsync); }
int fdatasync(int file) { return sync_(file, SYS_fdatasync); }

/* ---- folders */

int renameat2(int folder1, const char *name1, int folder2, const char *name2, unsigned flags) {
    char buffer1[PATH_MAX], buffer2[PATH_MAX];
    const char *path1 = join(folder1, name1, buffer1), *path2 = join(folder2, name2, buffer2);
    FAIL_IF(RENAME, path2, -1);
    int failed = syscall(SYS_renameat2, folder1, name1, folder2, name2, flags);
    if (!failed && path2[0]) note(RENAME, path1, path2, inode_of(-1, path2), 0, NULL, 0);
    return failed;
}

int renameat(int folder1, const char *name1, int folder2, const char *name2) {
    return renameat2(folder1, name1, folder2, name2, 0);
}

int rename(const char *name1, const char *name2) {
    return renameat2(AT_FDCWD, name1, AT_FDCWD, name2, 0);
}

int unlinkat(int folder, const char *name, int flags) {
    char buffer[PATH_MAX];
    const char *path = join(folder, name, buffer);
    FAIL_IF(REMOVE, path, -1);
    int failed = syscall(SYS_unlinkat, folder, name, flags);
    if (!failed) note(REMOVE, path, "", 0, 0, NULL, 0);
    return failed;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
    char buffer[PATH_MAX];
    const char *path = join(folder, name, buffer);
    FAIL_IF(MAKE, path, -1);
    int failed = syscall(SYS_mkdirat, folder, name, mode);
    if (!failed) note(MAKE, path, "", inode_of(-1, path), 0, NULL, 0);
    return failed;
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

/* Hard links are made by nobody here: refused, so that disk.py need not know them. */
int link(const char *from, const char *to) {
    char buffer[PATH_MAX];
    if (!join(AT_FDCWD, to, buffer)[0]) return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
    errno = EPERM;
    return -1;
}
