/*
 * The control socket - theory of operation
 *
 * A client connects to a Unix stream socket, says "text" or "json" and a newline, gets the answer and the
 * end of the stream. The server is driven by the event loop and never waits for a client: at most
 * MAX_CLIENTS are served at a time, each for at most TIMEOUT_S, and what one may say is short. The rights
 * of the file are the protection.
 *
 * A socket outlives a process that is killed. Whether one is in use is told by connecting: a refusal means
 * that nobody listens, so the file may go.
 */
#include "program/control.h"

#include <dirent.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "program/sandbox.h"
#include "base/util.h"
#include "build/config.h"

SANDBOX_CALLS("accept4", "unlink", "readv", "writev", "shutdown");

#define DIRECTORY RUNSTATEDIR "/tcpcopy"
#define MAX_CLIENTS 8
#define MAX_REQUEST 64
#define TIMEOUT_S 3

struct client {
	struct control *all;
	struct bufferevent *stream;
	struct event *end;
};

struct control {
	struct sockaddr_un at;
	control_fn fn;
	void *arg;
	int fd;
	ino_t inode; /* of the socket's file */
	struct event *accept;
	struct client client[MAX_CLIENTS];
};

static void client_free(struct client *c)
{
	if (c->stream)
		bufferevent_free(c->stream);
	if (c->end)
		event_free(c->end);
	c->stream = NULL;
	c->end = NULL;
}

static void on_event(struct bufferevent *b, short what, void *arg)
{
	(void)b;
	(void)what;
	client_free(arg);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_free(arg);
}

static void on_drained(struct bufferevent *b, void *arg)
{
	if (!(bufferevent_get_enabled(b) & EV_READ))
		client_free(arg);
}

static void on_request(struct bufferevent *b, void *arg)
{
	struct client *c = arg;
	struct evbuffer *in = bufferevent_get_input(b);
	char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_LF), *text;
	bool json = line && !strcmp(line, "json");

	if (!line && evbuffer_get_length(in) < MAX_REQUEST)
		return;
	if (!line || (!json && strcmp(line, "text") != 0)) {
		free(line);
		client_free(c);
		return;
	}
	free(line);
	text = c->all->fn(json, c->all->arg);
	bufferevent_disable(b, EV_READ);
	if (!text || bufferevent_write(b, text, strlen(text)))
		client_free(c);
	free(text);
}

static void on_accept(evutil_socket_t listener, short what, void *arg)
{
	static const struct timeval most = { .tv_sec = TIMEOUT_S };
	struct control *all = arg;
	struct client *c = NULL;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (fd < 0)
		return;
	for (int i = 0; i < MAX_CLIENTS && !c; i++)
		if (!all->client[i].stream)
			c = &all->client[i];
	if (!c) {
		close(fd);
		return;
	}
	c->all = all;
	c->stream = bufferevent_socket_new(event_get_base(all->accept), fd, BEV_OPT_CLOSE_ON_FREE);
	c->end = evtimer_new(event_get_base(all->accept), on_timeout, c);
	if (!c->stream || !c->end || event_add(c->end, &most)) {
		if (!c->stream)
			close(fd);
		client_free(c);
		return;
	}
	bufferevent_setcb(c->stream, on_request, on_drained, on_event, c);
	bufferevent_enable(c->stream, EV_READ | EV_WRITE);
}

/* A connected socket, or -1 with errno. */
static int reach(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -1;
	if (!connect(fd, (const struct sockaddr *)at, sizeof(*at)))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static bool stale(const struct sockaddr_un *at)
{
	struct stat st;
	int fd;

	if (lstat(at->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = reach(at);
	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == ECONNREFUSED;
}

static void address(struct sockaddr_un *at, const char *directory, const char *name)
{
	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if ((size_t)snprintf(at->sun_path, sizeof(at->sun_path), "%s%s%s", directory, *directory ? "/" : "",
			     name) >= sizeof(at->sun_path))
		at->sun_path[0] = '\0';
}

/* For each socket of @program in the directory; returns the number for which @fn said true. */
static unsigned each_of(const char *program, bool (*fn)(const struct sockaddr_un *at, void *arg), void *arg)
{
	DIR *d = opendir(DIRECTORY);
	size_t len = strlen(program);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d))) {
		struct sockaddr_un at;

		if (strncmp(e->d_name, program, len) != 0 || e->d_name[len] != '-')
			continue;
		address(&at, DIRECTORY, e->d_name);
		n += fn(&at, arg);
	}
	if (d)
		closedir(d);
	return n;
}

static bool remove_stale(const struct sockaddr_un *at, void *arg)
{
	(void)arg;
	return stale(at) && !unlink(at->sun_path);
}

static int listen_at(struct control *c, char *err, size_t err_size)
{
	struct stat st;
	mode_t before;
	int result;

	if (stale(&c->at))
		unlink(c->at.sun_path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	before = umask(0177);
	result = c->fd < 0 ? -1 : bind(c->fd, (struct sockaddr *)&c->at, sizeof(c->at));
	umask(before);
	if (result < 0 || listen(c->fd, MAX_CLIENTS) < 0) {
		snprintf(err, err_size, "%s: %s", c->at.sun_path,
			 errno == EADDRINUSE
				 ? "it exists, and is not a socket or belongs to a running program"
				 : strerror(errno));
		if (c->fd >= 0)
			close(c->fd);
		c->fd = -1;
		return -1;
	}
	c->inode = lstat(c->at.sun_path, &st) ? 0 : st.st_ino;
	return 0;
}

struct control *control_open(struct event_base *base, const char *program, const char *path, control_fn fn,
			     void *arg, char *err, size_t err_size)
{
	struct control *c = calloc(1, sizeof(*c));
	char name[64], here[4096] = "";

	snprintf(err, err_size, "out of memory");
	if (!c)
		return NULL;
	c->fn = fn;
	c->arg = arg;
	c->fd = -1;
	snprintf(name, sizeof(name), "%s-%d.sock", program, (int)getpid());
	if (*path && *path != '/' && !getcwd(here, sizeof(here))) /* a daemon moves to "/" later */
		here[0] = '\0';
	address(&c->at, *path ? here : DIRECTORY, *path ? path : name);
	if (!*path) {
		(void)mkdir(DIRECTORY, 0755);
		each_of(program, remove_stale, NULL);
	}
	if (!c->at.sun_path[0]) {
		snprintf(err, err_size, "%s: longer than the %zu characters of a socket's path", path,
			 sizeof(c->at.sun_path) - 1);
		control_close(c);
		return NULL;
	}
	if (listen_at(c, err, err_size)) {
		control_close(c);
		return NULL;
	}
	c->accept = event_new(base, c->fd, EV_READ | EV_PERSIST, on_accept, c);
	if (!c->accept || event_add(c->accept, NULL)) {
		control_close(c);
		return NULL;
	}
	sandbox_keep_file(c->at.sun_path); /* is removed at the end */
	return c;
}

const char *control_path(const struct control *c)
{
	return c->at.sun_path;
}

void control_close(struct control *c)
{
	struct stat st;

	if (!c)
		return;
	for (int i = 0; i < MAX_CLIENTS; i++)
		client_free(&c->client[i]);
	if (c->accept)
		event_free(c->accept);
	if (c->fd >= 0) {
		/* unless others have put theirs in its place */
		if (!lstat(c->at.sun_path, &st) && st.st_ino == c->inode)
			unlink(c->at.sun_path);
		close(c->fd);
	}
	free(c);
}

struct found {
	struct sockaddr_un last;
	char names[1024];
};

static bool note(const struct sockaddr_un *at, void *arg)
{
	struct found *f = arg;
	size_t len = strlen(f->names);

	if (stale(at))
		return false;
	f->last = *at;
	snprintf(f->names + len, sizeof(f->names) - len, "%s%s", len ? ", " : "", at->sun_path);
	return true;
}

/* Which of the running programs is meant? 0, or 1 after an error. */
static int choose(const char *program, const char *path, struct sockaddr_un *at)
{
	struct found f = { .names = "" };
	unsigned n;

	if (*path) {
		address(at, "", path);
		if (at->sun_path[0])
			return 0;
		fprintf(stderr,
			"%s: option --control \"%s\": longer than the %zu characters of a socket's path\n",
			program, path, sizeof(at->sun_path) - 1);
		return 1;
	}
	n = each_of(program, note, &f);
	*at = f.last;
	if (n == 1)
		return 0;
	if (n)
		fprintf(stderr, "%s: %u of them are running; choose one with --control: %s\n", program, n,
			f.names);
	else if (access(DIRECTORY, R_OK | X_OK) && errno == EACCES)
		fprintf(stderr, "%s: cannot look into " DIRECTORY ": %s; ask as root\n", program,
			strerror(errno));
	else
		fprintf(stderr,
			"%s: none is running with a socket in " DIRECTORY
			"; if it was started with --control, repeat that option here\n",
			program);
	return 1;
}

/* The answer, to its end. False with errno. */
static bool copy(int fd, bool json)
{
	static const struct timeval patience = { .tv_sec = 2 * TIMEOUT_S };
	const char *request = json ? "json\n" : "text\n";
	char buf[4096];
	bool any = false;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return false;
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		fwrite(buf, 1, (size_t)n, stdout);
		any = true;
	}
	if (!n && !any)
		errno = ECONNRESET;
	return !n && any;
}

int control_ask(const char *program, const char *path, bool json)
{
	struct sockaddr_un at;
	const char *why;
	int fd;

	if (choose(program, path, &at))
		return 1;
	fd = reach(&at);
	if (fd >= 0 && copy(fd, json)) {
		close(fd);
		return fflush(stdout) ? 1 : 0;
	}
	if (fd < 0 && errno == ENOENT)
		why = "there is no such socket";
	else if (fd < 0 && errno == ECONNREFUSED)
		why = "nobody is listening there: the program that created it was killed";
	else if (fd < 0 && errno == EACCES)
		why = "permission denied; ask as root or as the user who runs it";
	else if (errno == EAGAIN)
		why = "no answer in time";
	else
		why = strerror(errno);
	fprintf(stderr, "%s: status of %s: %s\n", program, at.sun_path, why);
	if (fd >= 0)
		close(fd);
	return 1;
}
