/*
 * Telling the service manager - theory of operation
 *
 * In: a line. Out: one datagram to the socket that the manager named in the environment, from the process
 * that the manager started, which is how it identifies the sender. The address is a path or, after an "@", an
 * abstract name (unix(7)). The socket is connected at the start and kept, because by the time there is
 * something to say the program may have another user, other files, and no right to open a socket. All it
 * needs then is write().
 */
#include "program/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "program/log.h"

#define PATIENCE_S 5

static int manager = -1;

/* The length of the address that @name stands for, or 0. */
static socklen_t address(struct sockaddr_un *at, const char *name)
{
	const size_t len = strlen(name);

	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if ((*name != '/' && *name != '@') || len < 2 || len >= sizeof(at->sun_path))
		return 0;
	memcpy(at->sun_path, name, len);
	if (*name == '/')
		return sizeof(*at);
	at->sun_path[0] = '\0'; /* an abstract name ends where the address ends, without a zero */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

int notify_open(void)
{
	static const struct timeval patience = { .tv_sec = PATIENCE_S };
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un at;
	socklen_t len;
	int error;

	notify_close();
	if (!name || !*name)
		return 0;
	len = address(&at, name);
	unsetenv("NOTIFY_SOCKET");
	if (!len) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (manager < 0)
		return -1;
	if (!connect(manager, (const struct sockaddr *)&at, len) &&
	    !setsockopt(manager, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)))
		return 0;
	error = errno;
	notify_close();
	errno = error;
	return -1;
}

void notify_manager(const char *state)
{
	ssize_t sent;

	if (manager < 0)
		return;
	do
		sent = write(manager, state, strlen(state));
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		log_warn("cannot send \"%s\" to the service manager: %s", state, strerror(errno));
}

void notify_close(void)
{
	if (manager >= 0)
		close(manager);
	manager = -1;
}
