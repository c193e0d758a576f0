/*
 * --on-target: the black hole on the target itself.
 *
 * In: addresses that no host has. Out: copies that tcpcopy sends to one of them reach this host, and whatever
 * it sends from there ends in a device that intercept captures on. So the responses need no other host and no
 * route, the copies keep their clients' addresses, and all else on this host goes on as before: what tells a
 * copy from a client's own request is the address that it is sent to.
 *
 *     copy for T2 -> eth0 -> the service -> response from T2 -> rule "from T2" -> table -> tcpcopy0 -> tap -> nothing
 *
 * The device is a TUN. Super-packets stay whole on their way to it. It dies with its descriptor, and with it
 * go its addresses and the route. Behind the tap a packet waits in the device's ring until it is read, of
 * which one byte is enough. It must not be full: what the device does not take, TCP has not sent, and so does
 * not believe that it was acknowledged. To be woken for each packet would cost more than it does, so while
 * some come the reader sleeps for NAP_MS in between. IPv4 answers ARP for an address of any of its devices,
 * so T2 is one of the TUN. IPv6 does not, nor does IPv4 with arp_ignore; then T2 is an address of the link,
 * which ends by itself if it is not made again every LIFE_S / 3.
 *
 * The rule and, in its table, a black hole for what finds no device, are made before the address and removed
 * after it, so at no moment can a response leave. They outlive a kill of both processes. Without the address
 * they mean nothing, except to connections that the service still has; the next start takes them over, and
 * --clean removes them.
 *
 * Two processes: the descriptor of the device, with which packets could be put into this host, and
 * CAP_NET_ADMIN are those of a helper, which waits for the end of the program at a socket and then removes
 * all. It takes no requests. It ends neither by the program's death nor by signals that end the program.
 */
#include "intercept/hole/on_target_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/util.h"
#include "io/host/host.h"
#include "io/host/settings.h"
#include "io/host/sockets.h"
#include "io/inject/route.h"
#include "program/clock.h"
#include "program/log.h"
#include "program/sandbox.h"

SANDBOX_CALLS("recvfrom", "shutdown", "wait4");

#define DEVICE_METRIC 1u
#define HOLE_METRIC 999u
#define LIFE_S 60u
#define NAP_MS 2
#define RING 16384     /* packets; eight a microsecond */
#define FILES 1024     /* more than are open at the start */
#define LOCK_TRIES 250 /* to outlast the helper of an intercept that was just killed */
#define LOCK_PAUSE_MS 20

/* One address, and where it is made. */
struct place {
	struct addr addr;
	int link; /* index of the link that it is an address of; 0: that of the TUN */
};

struct made {
	int tun, netlink;
	int device; /* index */
	unsigned n;
	struct place place[CONFIG_MAX_ON_TARGET];
};

struct on_target {
	int lock; /* the abstract socket */
	int fd;   /* to the helper */
	pid_t pid;
	struct event *end;
	void (*on_lost)(void *arg);
	void *arg;
	bool lost;
};

/* --- make and remove --- */

static int family_of(const struct addr *a)
{
	return addr_is_v4(a) ? AF_INET : AF_INET6;
}

/* An address of a link that a killed intercept has left. */
static void drop_left(int netlink, const struct addr *a)
{
	const int index = settings_interface_of(a);

	if (index)
		settings_address(netlink, false, index, a, 0);
}

/* Index of the link that has to answer for the address; 0: any link does, for one of the TUN. */
static int link_for(const struct addr *a, int *mtu)
{
	struct route_info route;

	if (route_lookup(&route, a))
		return 0;
	if (route.mtu)
		*mtu = (int)route.mtu;
	return addr_is_v4(a) && !on_target_setting(route.interface, "arp_ignore") ? 0 : route.ifindex;
}

static int open_tun(char name[16], int mtu)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), inet = -1;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "tcpcopy%%d");
	if (fd < 0)
		return -1;
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		close(fd);
		return -1;
	}
	snprintf(name, 16, "%.15s", ifr.ifr_name);
	ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
	inet = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ifr.ifr_mtu = mtu;
	if (inet >= 0 && mtu)
		ioctl(inet, SIOCSIFMTU, &ifr);
	if (inet >= 0)
		close(inet);
	return fd;
}

/* Make the addresses of links once more, for another LIFE_S. */
static int renew(const struct made *m)
{
	int rc = 0;

	for (unsigned i = 0; i < m->n; i++)
		if (m->place[i].link)
			rc |= settings_address(m->netlink, true, m->place[i].link, &m->place[i].addr, LIFE_S);
	return rc;
}

static int make(struct made *m, const char *name)
{
	m->device = settings_interface_up(name, RING);
	if (!m->device)
		return -1;
	for (unsigned i = 0; i < m->n; i++) {
		const struct place *p = &m->place[i];
		const int family = family_of(&p->addr);

		if (settings_route(m->netlink, true, family, ON_TARGET_TABLE, 0, HOLE_METRIC) ||
		    settings_route(m->netlink, true, family, ON_TARGET_TABLE, m->device, DEVICE_METRIC) ||
		    settings_rule(m->netlink, true, &p->addr, ON_TARGET_TABLE, ON_TARGET_PRIORITY) ||
		    (!p->link && settings_address(m->netlink, true, m->device, &p->addr, 0)))
			return -1;
	}
	return renew(m);
}

struct search {
	const struct addr *addr;
	bool found;
};

static bool on_socket(const struct endpoint *local, const struct endpoint *remote, void *arg)
{
	struct search *s = arg;

	(void)remote;
	s->found |= addr_eq(&local->addr, s->addr);
	return !s->found;
}

/* IPv6 sends from an address that is no more; IPv4 does not. */
static bool still_sends(const struct addr *a)
{
	struct search s = { a, false };

	if (!addr_is_v4(a))
		sockets_sending(on_socket, &s);
	return s.found;
}

/* Returns how many rules had to stay, for connections that would send to clients without them. */
static unsigned unmake(struct made *m)
{
	unsigned stay = 0;

	if (m->tun >= 0)
		close(m->tun);
	m->tun = -1;
	for (unsigned i = 0; i < m->n; i++) {
		const struct place *p = &m->place[i];

		if (p->link)
			settings_address(m->netlink, false, p->link, &p->addr, 0);
		if (still_sends(&p->addr))
			stay++;
		else
			settings_rule(m->netlink, false, &p->addr, ON_TARGET_TABLE, ON_TARGET_PRIORITY);
	}
	for (unsigned i = 0; i < m->n && !stay; i++)
		settings_route(m->netlink, false, family_of(&m->place[i].addr), ON_TARGET_TABLE, 0,
			       HOLE_METRIC);
	return stay;
}

/* --- the helper --- */

static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE };

static const char *const calls[] = { "poll",  "ppoll",  "read",       "recvfrom",   "sendto",
				     "close", "socket", "setsockopt", "exit_group", NULL };

/* Empty the device's ring. Returns whether there was something. */
static bool drain(int tun)
{
	bool some = false;
	char byte;

	while (read(tun, &byte, 1) > 0)
		some = true;
	return some;
}

/* Until the program ends, or the device. */
static void read_until(int fd, const struct made *m)
{
	struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = m->tun, .events = POLLIN } };
	uint64_t renewed = clock_now();
	bool busy = false;

	while (!p[0].revents && !(p[1].revents & POLLERR)) { /* somebody has removed the device */
		const int rc = poll(p, busy ? 1 : 2, busy ? NAP_MS : (int)(LIFE_S * 1000 / 3));

		if (rc < 0)
			p[0].revents = 0;
		busy = drain(m->tun);
		if (clock_now() - renewed < LIFE_S * NS_PER_SEC / 3)
			continue;
		renew(m);
		renewed = clock_now();
	}
}

/* The lock stays with it: while it removes, nobody else begins. */
static _Noreturn void serve(int fd, int lock, struct made *m, bool no_sandbox)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	unsigned stay;

	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++)
		dup2(null, i);
	for (int i = STDERR_FILENO + 1; i < FILES; i++)
		if (i != fd && i != m->tun && i != m->netlink && i != lock)
			close(i);
	close_range(FILES, ~0u, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, "intercept-hole");
	if (chdir("/") || sandbox_enter_helper(CAP_NET_ADMIN, calls, no_sandbox)) {
		unmake(m);
		_exit(1);
	}
	read_until(fd, m);
	stay = unmake(m);
	send(fd, &stay, sizeof(stay), MSG_NOSIGNAL);
	_exit(0);
}

static pid_t start(int fd, int lock, struct made *m, bool no_sandbox)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!pid)
		serve(fd, lock, m, no_sandbox);
	return pid;
}

/* --- the program --- */

static int try_lock(void)
{
	static const char name[] = "\0tcpcopy_intercept.on-target";
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), saved;

	memcpy(un.sun_path, name, sizeof(name) - 1);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&un, len)) {
		saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
	return fd;
}

static int take_lock(void)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000 };
	int fd = try_lock();

	for (unsigned i = 0; fd < 0 && errno == EADDRINUSE && i < LOCK_TRIES; i++) {
		nanosleep(&pause, NULL);
		fd = try_lock();
	}
	return fd;
}

bool on_target_running(void)
{
	const int fd = try_lock();

	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == EADDRINUSE;
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct on_target *t = arg;

	(void)fd;
	(void)what;
	t->lost = true;
	event_del(t->end);
	log_err("the helper process of --on-target has ended, and the device and the addresses with it; ending");
	t->on_lost(t->arg);
}

static void tell(const struct made *m, const char *name)
{
	char text[ADDR_TEXT_LEN], link[IF_NAMESIZE] = "";

	for (unsigned i = 0; i < m->n; i++) {
		const struct place *p = &m->place[i];

		host_interface_name(p->link ? p->link : m->device, link);
		log_info(
			"--on-target: %s is an address of this host, of %s, while intercept runs; what leaves with it "
			"ends in %s",
			addr_format(text, sizeof(text), &p->addr), link, name);
	}
}

/* The device and the rest, and the process that has them. Returns 0, or -1 with words in @err. */
static int begin(struct on_target *t, struct made *m, const struct config *c, char name[16], char *err,
		 size_t err_size)
{
	int mtu = 0, pair[2];

	m->netlink = settings_open();
	for (; m->netlink >= 0 && m->n < c->n_on_target; m->n++) {
		const struct addr *a = &c->on_target[m->n];

		drop_left(m->netlink, a);
		m->place[m->n] = (struct place){ *a, link_for(a, &mtu) };
	}
	m->tun = open_tun(name, mtu);
	if (m->netlink < 0 || m->tun < 0) {
		snprintf(err, err_size, "--on-target: cannot make a TUN device: %s", strerror(errno));
		return -1;
	}
	if (make(m, name)) {
		snprintf(err, err_size, "--on-target: cannot make %s, its addresses and their rules: %s",
			 name, strerror(errno));
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		snprintf(err, err_size, "--on-target: %s", strerror(errno));
		return -1;
	}
	t->fd = pair[0];
	t->pid = start(pair[1], t->lock, m, c->run.no_sandbox);
	close(pair[1]);
	if (t->pid > 0)
		return 0;
	snprintf(err, err_size, "--on-target: cannot start a helper process: %s", strerror(errno));
	return -1;
}

struct on_target *on_target_open(struct event_base *base, struct config *c, void (*lost)(void *arg),
				 void *arg, char *err, size_t err_size)
{
	struct made m = { .tun = -1, .netlink = -1 };
	struct on_target *t = calloc(1, sizeof(*t));
	struct check_result r;
	char name[16] = "";

	snprintf(err, err_size, "out of memory");
	if (!t)
		return NULL;
	*t = (struct on_target){ .lock = take_lock(), .fd = -1, .on_lost = lost, .arg = arg };
	if (t->lock < 0) {
		snprintf(err, err_size, "--on-target: another intercept on this host has it already");
		on_target_close(t);
		return NULL;
	}
	if (!on_target_possible(c, &r)) {
		check_format(err, err_size, &r);
		on_target_close(t);
		return NULL;
	}
	if (begin(t, &m, c, name, err, err_size)) {
		unmake(&m);
		if (m.netlink >= 0)
			close(m.netlink);
		on_target_close(t);
		return NULL;
	}
	close(m.tun);
	close(m.netlink);
	t->end = event_new(base, t->fd, EV_READ | EV_PERSIST, on_end, t);
	if (!t->end || event_add(t->end, NULL)) {
		on_target_close(t);
		return NULL;
	}
	memcpy(c->interfaces[0], name, sizeof(c->interfaces[0]));
	c->n_interfaces = 1;
	tell(&m, name);
	return t;
}

void on_target_close(struct on_target *t)
{
	unsigned stay = 0;

	if (!t)
		return;
	if (t->end)
		event_free(t->end);
	if (t->fd >= 0) {
		shutdown(t->fd, SHUT_WR);
		if (!t->lost && recv(t->fd, &stay, sizeof(stay), 0) == (ssize_t)sizeof(stay) && stay)
			log_warn(
				"%u rule%s of --on-target stay%s, because the service has connections left that would "
				"send to clients; afterwards \"intercept --clean\" removes what is left",
				stay, stay == 1 ? "" : "s", stay == 1 ? "s" : "");
		close(t->fd);
	}
	while (t->pid > 0 && waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (t->lock >= 0)
		close(t->lock);
	free(t);
}

/* --- --clean --- */

struct cleaning {
	int netlink;
	unsigned n;
	bool failed;
};

static void clean(const struct addr *from, void *arg)
{
	struct cleaning *k = arg;
	char text[ADDR_TEXT_LEN];

	addr_format(text, sizeof(text), from);
	k->n++;
	drop_left(k->netlink, from);
	if (settings_rule(k->netlink, false, from, ON_TARGET_TABLE, ON_TARGET_PRIORITY)) {
		fprintf(stderr, "intercept: cannot remove the rule for %s: %s\n", text, strerror(errno));
		k->failed = true;
		return;
	}
	printf("removed the rule for %s\n", text);
}

int on_target_clean(void)
{
	struct cleaning k = { .netlink = settings_open() };
	const int lock = take_lock();

	if (lock < 0) {
		fprintf(stderr,
			"intercept: option --clean: an intercept with --on-target runs on this host, and removes "
			"all itself when it ends\n");
		return 1;
	}
	if (k.netlink < 0 || settings_rules(ON_TARGET_TABLE, clean, &k)) {
		fprintf(stderr, "intercept: option --clean: cannot read the rules: %s\n", strerror(errno));
		return 1;
	}
	if (!k.failed && (settings_route(k.netlink, false, AF_INET, ON_TARGET_TABLE, 0, HOLE_METRIC) ||
			  settings_route(k.netlink, false, AF_INET6, ON_TARGET_TABLE, 0, HOLE_METRIC))) {
		fprintf(stderr, "intercept: cannot remove the black hole: %s\n", strerror(errno));
		k.failed = true;
	}
	if (!k.n && !k.failed)
		printf("nothing is left\n");
	return k.failed;
}
