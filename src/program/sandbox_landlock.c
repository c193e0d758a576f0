/*
 * The files and ports of a confined program - theory of operation
 *
 * In: the paths that it still needs, and the TCP ports that it connects to. Out: a domain of Landlock, in
 * which all else is refused: other files, other ports from Linux 6.7 on, and from 6.12 on abstract sockets
 * and signals that lead out of the process. Some of this seccomp refuses as well; each wall stands alone.
 * Landlock needs no privilege and no mount namespace, so it also holds for a start with CAP_NET_RAW alone.
 * Of a file that is made anew its directory is kept; so the log can still be opened after it was rotated.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "program/log.h"
#include "program/sandbox_impl.h"

/* Newer than the headers of Debian 12. */
#define ACCESS_TRUNCATE (1ull << 14)
#define ACCESS_IOCTL_DEV (1ull << 15)
#define BIND_TCP (1ull << 0)
#define CONNECT_TCP (1ull << 1)
#define SCOPE_ABSTRACT_UNIX (1ull << 0)
#define SCOPE_SIGNAL (1ull << 1)
#define RULE_NET_PORT 2

struct ruleset_attr {
	uint64_t handled_fs, handled_net, scoped;
};

struct port_attr {
	uint64_t allowed, port;
};

/* All of the first version: everything that has a file system call. */
#define ALL_V1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

const uint64_t sandbox_access_read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
const uint64_t sandbox_access_write = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				      LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE |
				      ACCESS_TRUNCATE;
const uint64_t sandbox_access_series = LANDLOCK_ACCESS_FS_MAKE_REG | ACCESS_TRUNCATE;

static int landlock_rule(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access };
	struct stat st;
	int result;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return -1;
	if (!fstat(rule.parent_fd, &st) && !S_ISDIR(st.st_mode))
		rule.allowed_access &=
			LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE;
	result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
	return result;
}

/* The directory of a file that may be made anew, or what is to be read. */
static int keep_rule(int ruleset, const char *path, uint64_t access)
{
	char directory[sizeof(((struct sandbox_path *)0)->path)];
	char *slash;

	if (!(access & LANDLOCK_ACCESS_FS_MAKE_REG))
		return landlock_rule(ruleset, path, access);
	snprintf(directory, sizeof(directory), "%s", path);
	slash = strrchr(directory, '/');
	if (!slash)
		return landlock_rule(ruleset, ".", access);
	slash[slash == directory] = '\0';
	return landlock_rule(ruleset, directory, access);
}

static void keep_ports(int ruleset, const uint8_t *ports)
{
	struct port_attr rule = { .allowed = CONNECT_TCP };

	for (; rule.port < 65536; rule.port++)
		if (ports[rule.port / 8] >> rule.port % 8 & 1)
			syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0);
}

long sandbox_landlock_version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool sandbox_restrict_landlock(long version, const struct sandbox_path *kept, unsigned n,
			       const uint8_t *ports, bool signals)
{
	struct ruleset_attr attr = { .handled_fs = ALL_V1 };
	bool done;
	int ruleset;

	if (version < 1)
		return false;
	if (version >= 2)
		attr.handled_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		attr.handled_fs |= ACCESS_TRUNCATE;
	if (version >= 5)
		attr.handled_fs |= ACCESS_IOCTL_DEV;
	if (version >= 4)
		attr.handled_net = BIND_TCP | CONNECT_TCP;
	if (version >= 6)
		attr.scoped = SCOPE_ABSTRACT_UNIX | (signals ? 0 : SCOPE_SIGNAL);
	/* An older kernel takes a longer structure, if what it does not know is 0. */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (keep_rule(ruleset, kept[i].path, kept[i].access & attr.handled_fs))
			log_debug("sandbox: %s: %s", kept[i].path, strerror(errno));
	if (attr.handled_net && ports)
		keep_ports(ruleset, ports);
	done = !syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
	return done;
}
