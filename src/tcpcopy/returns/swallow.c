/*
 * Swallowing the answers - theory of operation
 *
 * In: the plan. Out: an nft table (program/helper/nft_own.c) that drops the answers of targets to our ports,
 * behind the taps that capture and before this host's TCP.
 *
 * The table belongs to a helper process, which keeps the capability for it (program/helper). It ends with the
 * helper, and the helper with this program, however that ends; nobody else can change or flush it. So nothing
 * has to be cleaned up after a crash, and this host's TCP then resets what the target still believes to be
 * open. A helper that ends first takes the table along, and this program must stop sending: it ends.
 *
 * Without nf_tables, or the capability for it, deaf listeners do the same for fewer ports (deaf.c).
 */
#include "tcpcopy/returns/swallow.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/host/host.h"
#include "program/helper/helper.h"
#include "program/log.h"
#include "tcpcopy/returns/deaf.h"

struct swallow {
	struct helper *helper;
	struct event *answer;
	void (*lost)(void *arg);
	void *arg;
	struct deaf *deaf;  /* instead of the helper */
	char no_table[256]; /* why */
};

static struct nft_element element_of(const struct plan_place *at)
{
	struct nft_element x = { .family = addr_is_v4(&at->own) ? 4 : 6, .port = at->target.port };

	if (x.family == 4) {
		memcpy(x.address, addr_v4_bytes(&at->target.addr), 4);
		memcpy(x.to, addr_v4_bytes(&at->own), 4);
	} else {
		memcpy(x.address, at->target.addr.b, 16);
		memcpy(x.to, at->own.b, 16);
	}
	return x;
}

static int create(struct helper *h, const struct plan *plan, struct helper_answer *a)
{
	struct helper_request r = { .kind = HELPER_CREATE, .table = NFT_OWN };

	for (unsigned i = 0; i < plan->n_ranges; i++)
		r.ports[i] = (struct nft_ports){ plan->range[i].first, plan->range[i].last };
	if (helper_ask(h, &r, a))
		return -1;
	for (unsigned done = 0; done < plan->n_places; done += r.count) {
		r = (struct helper_request){ .kind = HELPER_ADD, .table = NFT_OWN };
		while (r.count < NFT_ELEMENTS_MAX && done + r.count < plan->n_places) {
			r.element[r.count] = element_of(&plan->place[done + r.count]);
			r.count++;
		}
		if (helper_ask(h, &r, a))
			return -1;
	}
	return 0;
}

/* Nothing is asked for in the loop, so this is the helper's end, or a late answer. */
static void on_answer(evutil_socket_t fd, short what, void *arg)
{
	struct swallow *s = arg;
	struct helper_answer a;
	int got;

	(void)fd;
	(void)what;
	while ((got = helper_receive(s->helper, &a)) > 0)
		;
	if (!got)
		return;
	event_del(s->answer);
	log_err("the helper process has ended, and its nft table with it; ending, because this host would reset "
		"the copied connections");
	s->lost(s->arg);
}

/* Returns 0; or -1, and s->no_table says why. */
static int open_table(struct swallow *s, struct event_base *base, const struct plan *plan, bool no_sandbox)
{
	struct helper_answer a = { .error = -ENOMEM, .refused = NFT_NO_MESSAGE };

	if (!host_has_capability(HOST_CAP_NET_ADMIN)) {
		nft_words(-EPERM, NFT_NO_MESSAGE, s->no_table, sizeof(s->no_table));
		return -1;
	}
	s->helper = helper_open("tcpcopy-own", NULL, no_sandbox);
	if (!s->helper) {
		snprintf(s->no_table, sizeof(s->no_table), "cannot start a helper process: %s",
			 strerror(errno));
		return -1;
	}
	s->answer = event_new(base, helper_fd(s->helper), EV_READ | EV_PERSIST, on_answer, s);
	if (s->answer && !event_add(s->answer, NULL) && !create(s->helper, plan, &a))
		return 0;
	nft_words(a.error, a.refused, s->no_table, sizeof(s->no_table));
	if (s->answer)
		event_free(s->answer);
	helper_close(s->helper);
	s->answer = NULL;
	s->helper = NULL;
	return -1;
}

struct swallow *swallow_open(struct event_base *base, struct plan *plan, bool no_sandbox,
			     void (*lost)(void *arg), void *arg, char *err, size_t err_size)
{
	struct swallow *s = calloc(1, sizeof(*s));
	char why[256];

	snprintf(err, err_size, "out of memory or file descriptors");
	if (!s)
		return NULL;
	s->lost = lost;
	s->arg = arg;
	if (!open_table(s, base, plan, no_sandbox))
		return s;
	s->deaf = deaf_open(plan, why, sizeof(why));
	plan->deaf = s->deaf;
	if (s->deaf)
		return s;
	snprintf(
		err, err_size,
		"the targets' answers cannot be kept from this host's own TCP, which would reset them: %s; and %s; "
		"or run intercept on another host, and name that with -s",
		s->no_table, why);
	swallow_close(s);
	return NULL;
}

const char *swallow_no_table(const struct swallow *s)
{
	return s->deaf ? s->no_table : NULL;
}

int swallow_count(struct swallow *s, uint64_t *packets)
{
	struct helper_request r = { .kind = HELPER_COUNT, .table = NFT_OWN };
	struct helper_answer a;

	if (s->deaf)
		return deaf_count(s->deaf, packets);
	if (helper_ask(s->helper, &r, &a))
		return -1;
	*packets = a.count.packets;
	return 0;
}

void swallow_close(struct swallow *s)
{
	if (!s)
		return;
	if (s->answer)
		event_free(s->answer);
	helper_close(s->helper);
	deaf_close(s->deaf);
	free(s);
}
