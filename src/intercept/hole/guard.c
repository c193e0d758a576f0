/*
 * --guard: drop the target's responses on a host whose kernel forwards.
 *
 * In: the endpoints that tcpcopys announce as targets. Out: elements in the sets of an nft table, which the
 * privileged helper (program/helper) creates and changes.
 *
 * What is captured is dropped at the ingress of the device whose tap has captured it: right behind the tap,
 * before conntrack and before routing. No hook for IP will do. On a bridge with br_netfilter prerouting comes
 * at the port, before the packet is the bridge's; and for a port of a VRF before it is that of the VRF. The
 * forward hook would be too late, because by then the kernel has already sent the target an ICMP redirect to
 * the client's own router. It is the second line, for responses by an interface that nobody captures on, or
 * that has come or has been made anew since.
 *
 *     device -> tap -> ingress: the guard -> (bridge, VLAN: the same for the device above) -> prerouting
 *            -> routing -> forward: the guard's second line
 *
 * Packets addressed to this host pass, whoever sends them; the channel is among them. Packets that this host
 * sends do not come by, so the guard does no harm on the target itself.
 *
 * An endpoint has the users that announced it: the workers that have it among their targets. When the last
 * one has let go of it, it stays in the set for GUARD_LINGER_NS more, for a target retransmits for minutes
 * after a session's end, and nobody but us may hear that. Then it goes: what nobody replicates to is not ours
 * to drop.
 *
 * Workers capture packets and must not wait for the helper. So what is to change is marked in a list, one
 * request at a time takes up to NFT_ELEMENTS_MAX of them to the helper, and its answer says what became of
 * them. The guard repeats a refused request at its next tick.
 *
 *            guard_add()            sent                 answer: done
 *     ------> [ wanted ] --> [ asked for ] ------------------------------> [ in force ]
 *                  ^               | answer: an error, after 1 s             |   no user for GUARD_LINGER_NS
 *                  '---------------'                                         v
 *                  ^----- has users again, or an error ---------------- [ leaving ] ---> forgotten
 *
 * Where the kernel can do so, the table belongs to the helper and ends with it. The kernel then forwards
 * again, so the program must end.
 *
 * One intercept per network namespace: it listens on an abstract unix socket, which ends with the process.
 * A table that nobody owns while that socket is free is left over from a crash.
 */
#include "intercept/hole/guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <linux/netfilter/nf_tables.h>

#include "base/util.h"
#include "program/clock.h"
#include "program/helper/helper.h"
#include "program/log.h"

_Static_assert(CONFIG_MAX_INTERFACES == NFT_DEVICES_MAX, "each interface is guarded");

#define HELD_MAX 8192u
#define TICK_S 1
#define SILENT_TICKS 5     /* without an answer, before the log says so */
#define OWNER_TRIES 100    /* to outlast the helper of an intercept that was just killed */
#define OWNER_PAUSE_MS 20L /* between them */

enum held_state { WANTED, ASKED_FOR, IN_FORCE, LEAVING };

struct held {
	struct endpoint endpoint;
	enum held_state state;
	unsigned users;
	uint64_t idle_at; /* ns, CLOCK_MONOTONIC: when the last one let go of it */
};

struct guard {
	int lock; /* the abstract socket */
	struct helper *helper;
	struct event *answer, *tick;
	void (*on_lost)(void *arg);
	void *arg;
	bool owning;           /* the table ends with the helper */
	pthread_mutex_t mutex; /* protects what follows: every worker calls guard_add() */
	bool lost;             /* the helper has ended */
	bool failing;          /* the log says so */
	bool asked;            /* a request is under way */
	unsigned ticks;        /* since that request */
	unsigned count, wanted;
	struct held held[HELD_MAX];
};

bool guard_possible(char *why, size_t size)
{
	const int error = nft_possible();

	if (error)
		nft_words(error, NFT_MSG_GETTABLE, why, size);
	return !error;
}

static void release(struct guard *g)
{
	if (g->answer)
		event_free(g->answer);
	if (g->tick)
		event_free(g->tick);
	pthread_mutex_destroy(&g->mutex);
	free(g);
}

static struct nft_element element_of(const struct endpoint *e)
{
	struct nft_element x = { .family = addr_is_v4(&e->addr) ? 4 : 6, .port = e->port };

	if (x.family == 4)
		memcpy(x.address, addr_v4_bytes(&e->addr), 4);
	else
		memcpy(x.address, e->addr.b, 16);
	return x;
}

/* --- at the start --- */

/* The lock's socket, or -1 with errno; EADDRINUSE: *@holder is its process (0: not known). */
static int take_lock(pid_t *holder)
{
	static const char name[] = "\0" GUARD_TABLE ".guard";
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1);
	struct ucred cred = { 0 };
	socklen_t cred_len = sizeof(cred);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -1;
	memcpy(un.sun_path, name, sizeof(name) - 1);
	if (!bind(fd, (struct sockaddr *)&un, len) && !listen(fd, 1))
		return fd;
	error = errno;
	*holder = 0;
	if (error == EADDRINUSE && !connect(fd, (struct sockaddr *)&un, len) &&
	    !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len))
		*holder = cred.pid;
	close(fd);
	errno = error;
	return -1;
}

/* Ask for the table. If an intercept was killed just now, its helper may still own one; wait for its end. */
static int create(struct helper *h, struct helper_answer *a)
{
	const struct timespec pause = { .tv_nsec = OWNER_PAUSE_MS * 1000000 };
	struct helper_request r = { .kind = HELPER_CREATE, .table = NFT_GUARD };

	for (unsigned i = 0; i < OWNER_TRIES; i++) {
		if (helper_ask(h, &r, a) != -EPERM || a->refused != NFT_MSG_DELTABLE)
			break;
		nanosleep(&pause, NULL);
	}
	return a->error;
}

struct guard *guard_open(struct event_base *base, const struct config *c, void (*lost)(void *arg), void *arg,
			 char *err, size_t err_size)
{
	struct nft_devices devices = { .count = c->n_interfaces };
	struct helper_answer a = { .error = -ENOMEM };
	struct helper *helper;
	struct guard *g;
	pid_t holder = 0;
	char why[256];
	int lock;

	lock = take_lock(&holder);
	if (lock < 0) {
		if (errno == EADDRINUSE)
			snprintf(err, err_size,
				 "--guard: another intercept (pid %ld) guards this host already",
				 (long)holder);
		else
			snprintf(err, err_size, "--guard: %s", strerror(errno));
		return NULL;
	}
	for (unsigned i = 0; i < devices.count; i++)
		memcpy(devices.name[i], c->interfaces[i], sizeof(devices.name[i]));
	helper = helper_open("intercept-guard", &devices, c->run.no_sandbox);
	if (!helper) {
		snprintf(err, err_size, "--guard: cannot start a helper process: %s", strerror(errno));
		close(lock);
		return NULL;
	}
	g = create(helper, &a) ? NULL : guard_new(base, helper, a.owning, lost, arg);
	if (!g) {
		snprintf(err, err_size, "--guard: %s",
			 a.error ? nft_words(a.error, a.refused, why, sizeof(why)) : "out of memory");
		helper_close(helper);
		close(lock);
		return NULL;
	}
	g->lock = lock;
	if (a.replaced)
		log_warn("nft table " GUARD_TABLE " was left by an intercept that did not end properly; "
			 "it is replaced");
	return g;
}

/* --- the list; the mutex is held --- */

static bool due(const struct held *h, enum helper_kind kind, uint64_t now)
{
	if (kind == HELPER_ADD)
		return h->state == WANTED;
	return h->state == IN_FORCE && !h->users && now - h->idle_at >= GUARD_LINGER_NS;
}

/* False: there is nothing of this kind to ask for, or the helper does not take it: at the next tick, then. */
static bool request(struct guard *g, enum helper_kind kind, uint64_t now)
{
	struct helper_request r = { .kind = (uint8_t)kind, .table = NFT_GUARD };
	unsigned in[NFT_ELEMENTS_MAX] = { 0 };

	for (unsigned i = 0; i < g->count && r.count < NFT_ELEMENTS_MAX; i++)
		if (due(&g->held[i], kind, now)) {
			in[r.count] = i;
			r.element[r.count++] = element_of(&g->held[i].endpoint);
		}
	if (!r.count || !helper_send(g->helper, &r))
		return false;
	for (unsigned i = 0; i < r.count; i++)
		g->held[in[i]].state = kind == HELPER_ADD ? ASKED_FOR : LEAVING;
	g->asked = true;
	g->ticks = 0;
	return true;
}

/* Ask for what is to change, new targets first, unless a request is under way. */
static void ask(struct guard *g)
{
	const uint64_t now = clock_now();

	if (!g->lost && !g->asked && (!g->wanted || !request(g, HELPER_ADD, now)))
		request(g, HELPER_REMOVE, now);
}

static void failed(struct guard *g, const char *why)
{
	if (!g->failing && g->wanted)
		log_err("cannot guard %u new targets: %s; trying again every second, until then the clients get "
			"their responses",
			g->wanted, why);
	else if (!g->failing)
		log_err("cannot end the guard of targets that nobody has any more: %s; trying again every second",
			why);
	g->failing = true;
}

/* What the answer says of @h; false: it is not held any more. */
static bool answered(struct guard *g, struct held *h, bool done)
{
	if (h->state == ASKED_FOR) {
		h->state = done ? IN_FORCE : WANTED;
		g->wanted -= done;
	} else if (h->state == LEAVING) {
		if (done && !h->users)
			return false;
		h->state = WANTED; /* announced meanwhile; or it is not in the set, and put there it can go */
		g->wanted++;
	}
	return true;
}

static void take_answer(struct guard *g, const struct helper_answer *a)
{
	unsigned kept = 0;
	char why[256];

	if (a->error)
		failed(g, nft_words(a->error, a->refused, why, sizeof(why)));
	for (unsigned i = 0; i < g->count; i++) {
		g->held[kept] = g->held[i];
		kept += answered(g, &g->held[kept], !a->error);
	}
	g->count = kept;
	g->asked = false;
	if (a->error)
		return;
	if (g->failing && !g->wanted) {
		log_info("all targets are guarded");
		g->failing = false;
	}
	ask(g);
}

static void lose(struct guard *g)
{
	g->lost = true;
	event_del(g->answer);
	event_del(g->tick);
	log_err("the guard's helper process has ended%s; ending, because the clients would get the responses of %s",
		g->owning ? ", and its nft table with it" : "", g->owning ? "all targets" : "new targets");
}

/* --- events --- */

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct guard *g = arg;
	struct helper_answer a;
	int got;

	(void)fd;
	(void)what;
	pthread_mutex_lock(&g->mutex);
	while ((got = helper_receive(g->helper, &a)) > 0)
		take_answer(g, &a);
	if (got < 0)
		lose(g);
	pthread_mutex_unlock(&g->mutex);
	if (got < 0)
		g->on_lost(g->arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct guard *g = arg;
	char why[256];

	(void)fd;
	(void)what;
	pthread_mutex_lock(&g->mutex);
	if (g->asked && ++g->ticks == SILENT_TICKS)
		failed(g, nft_words(-ETIMEDOUT, NFT_NO_MESSAGE, why, sizeof(why)));
	ask(g);
	pthread_mutex_unlock(&g->mutex);
}

struct guard *guard_new(struct event_base *base, struct helper *helper, bool owning, void (*lost)(void *arg),
			void *arg)
{
	struct guard *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->lock = -1;
	g->helper = helper;
	g->owning = owning;
	g->on_lost = lost;
	g->arg = arg;
	pthread_mutex_init(&g->mutex, NULL);
	g->answer = event_new(base, helper_fd(helper), EV_READ | EV_PERSIST, on_answer, g);
	g->tick = event_new(base, -1, EV_PERSIST, on_tick, g);
	if (g->answer && g->tick && !event_add(g->answer, NULL) &&
	    !event_add(g->tick, &(struct timeval){ TICK_S, 0 }))
		return g;
	release(g);
	return NULL;
}

/* --- while it runs --- */

static struct held *find(struct guard *g, const struct endpoint *e)
{
	for (unsigned i = 0; i < g->count; i++)
		if (endpoint_eq(&g->held[i].endpoint, e))
			return &g->held[i];
	return NULL;
}

bool guard_add(struct guard *g, const struct endpoint *e)
{
	const struct nft_element element = element_of(e);
	struct held *h;
	bool taken;

	if (!nft_element_valid(&element, NFT_GUARD))
		return true; /* no segment comes from there */
	pthread_mutex_lock(&g->mutex);
	h = find(g, e);
	taken = !g->lost && (h || g->count < HELD_MAX);
	if (taken && !h) {
		h = &g->held[g->count++];
		*h = (struct held){ .endpoint = *e, .state = WANTED };
		g->wanted++;
	}
	if (taken) {
		h->users++;
		ask(g);
	}
	pthread_mutex_unlock(&g->mutex);
	return taken;
}

void guard_release(struct guard *g, const struct endpoint *e, uint64_t now)
{
	struct held *h;

	pthread_mutex_lock(&g->mutex);
	h = find(g, e);
	if (h && h->users && !--h->users)
		h->idle_at = now;
	pthread_mutex_unlock(&g->mutex);
}

bool guard_holds(struct guard *g)
{
	bool holds;

	if (!g)
		return false;
	pthread_mutex_lock(&g->mutex);
	holds = !g->lost;
	pthread_mutex_unlock(&g->mutex);
	return holds;
}

void guard_close(struct guard *g)
{
	struct helper_request r = { .kind = HELPER_DELETE, .table = NFT_GUARD };
	struct helper_answer a;
	char why[256];

	if (!g)
		return;
	if (!g->lost && helper_ask(g->helper, &r, &a))
		log_err("cannot remove nft table " GUARD_TABLE ": %s",
			nft_words(a.error, a.refused, why, sizeof(why)));
	helper_close(g->helper);
	if (g->lock >= 0)
		close(g->lock);
	release(g);
}
