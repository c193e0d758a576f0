#ifndef TCPCOPY_RETURNS_PLAN_H
#define TCPCOPY_RETURNS_PLAN_H

#include "tcpcopy/config/config.h"

/*
 * From where copies go when their answers are to come back to this host: which of its addresses towards which
 * target, and which ports. It is made once at the start, and constant from then on; all workers share it.
 */
#define PLAN_PLACES_MAX 256u
#define PLAN_FILTER_SIZE 65536u /* enough for plan_filter() */

/* An address of this host towards a target: the same port may be used once in each of them. */
struct plan_place {
	struct endpoint target;
	struct addr own;
	uint16_t rule; /* the first that has this target */
};

struct plan {
	const struct config *config;
	uint64_t max_answers; /* bits/s that may come in; 0: no limit */
	unsigned n_places;
	struct plan_place place[PLAN_PLACES_MAX];
	/* All ports that may be used lie in these; not all that lie in them may be used. */
	unsigned n_ranges;
	struct port_range range[CONFIG_OWN_RANGES];
	unsigned n_ports;
	bool deaf;                 /* each has a socket of ours that listens and hears nothing (deaf.h) */
	uint8_t usable[65536 / 8]; /* a bit for each port */
};

/*
 * Fill *p: asks the kernel for its routes, its ports and its listening sockets. *c must outlive it. Returns
 * 0, or -1 with words in @err that say what to do.
 */
int plan_make(struct plan *p, const struct config *c, char *err, size_t err_size);

/* Leave out the port @port. */
void plan_without(struct plan *p, uint16_t port);

/* Keep @most ports at most, the last of them: those are the least usual for services. */
void plan_most(struct plan *p, unsigned most);

/* Keep no port but @port, which need not have been among them. */
void plan_only(struct plan *p, uint16_t port);

static inline bool plan_usable(const struct plan *p, uint16_t port)
{
	return p->usable[port / 8] >> port % 8 & 1;
}

/*
 * Write the capture filter for the answers into @out, as pcap-filter(7) text. Returns 0, or -1 if @size is
 * too small, which PLAN_FILTER_SIZE never is.
 */
int plan_filter(const struct plan *p, char *out, size_t size);

#define PLAN_PORTS_TEXT 64
/* Write the ranges into @buf: "1024-32767 and 61000-65535". Returns @buf. */
char *plan_ports_format(const struct plan *p, char buf[PLAN_PORTS_TEXT]);

/* Log what the plan means: for the first lines of a start. */
void plan_log(const struct plan *p);

#endif
