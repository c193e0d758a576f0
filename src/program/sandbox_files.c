/*
 * The file system of a confined program - theory of operation
 *
 * In: the paths that it still needs. Out: a domain of Landlock, in which all else is refused. It needs no
 * privilege and no mount namespace, so it also holds for a start with CAP_NET_RAW alone. Of a file that is
 * made anew its directory is kept; so the log can still be opened after it was rotated.
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

/* All of the first version: everything that has a file system call. */
#define ALL_V1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

const uint64_t sandbox_access_read = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
const uint64_t sandbox_access_write = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				      LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE |
				      ACCESS_TRUNCATE;

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

bool sandbox_restrict_files(const struct sandbox_path *kept, unsigned n)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = ALL_V1 };
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t handled = ALL_V1;
	bool done;
	int ruleset;

	if (version < 1)
		return false;
	if (version >= 2)
		handled |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		handled |= ACCESS_TRUNCATE;
	if (version >= 5)
		handled |= ACCESS_IOCTL_DEV;
	attr.handled_access_fs = handled;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (keep_rule(ruleset, kept[i].path, kept[i].access & handled))
			log_debug("sandbox: %s: %s", kept[i].path, strerror(errno));
	done = !syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
	return done;
}
