#ifndef TCPCOPY_CONFIG_CONFIG_H
#define TCPCOPY_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "program/options.h"
#include "channel/secret.h"
#include "compare/condition.h"
#include "io/capture/source.h"
#include "packet/addr.h"
#include "packet/decap.h"
#include "session/session.h"
#include "tcpcopy/choice/choice.h"
#include "tcpcopy/choice/copies.h"
#include "tcpcopy/choice/targets.h"

/*
 * What the command line says, checked and resolved: names have become addresses, durations ns, and nothing is
 * left to parse.
 */
#define CONFIG_MAX_RULES 64
#define CONFIG_MAX_ASSISTANTS 16
#define CONFIG_MAX_INTERFACES 32
#define CONFIG_MAX_POOL 256
#define CONFIG_MAX_READ 4096
#define CONFIG_MAX_SESSIONS 4000000
#define CONFIG_MAX_CONDITIONS 8
#define CONFIG_FILTER_SIZE 16384 /* enough for config_capture_filter(), whatever the rules */

/*
 * One element of -x: [online-address:]online-port-target-address:target-port. A rule without an online
 * address matches only requests of its target's address family, so an IPv4 and an IPv6 rule may share a port.
 * Ports are in host byte order.
 */
struct rule {
	bool has_online_addr;
	struct addr online_addr;
	uint16_t online_port;
	struct endpoint target;
	uint32_t weight; /* /WEIGHT, for --targets spread; 0: not given */
	char text[160];  /* as typed */
	enum engine_join join;
};

/* --inject: how packets are sent. */
#define CONFIG_INJECT(X)                                                                                     \
	X(AUTO, "auto", "link layer, or raw sockets if not Ethernet")                                        \
	X(LINK, "link", "link layer") /* and every target must be reached over Ethernet */                   \
	X(RAW, "raw", "raw sockets")
enum config_inject {
#define X(id, name, text) INJECT_##id,
	CONFIG_INJECT(X)
#undef X
		INJECT_COUNT
};

/* --return: how the targets' responses come back. */
#define CONFIG_RETURNS(X)                                                                                    \
	X(AUTO, "auto")           /* of the other two, as -s says; only while options are read */            \
	X(ASSISTANT, "assistant") /* through intercept, on the hosts of -s */                                \
	X(OWN, "own")             /* to addresses of this host */
enum config_return {
#define X(id, name) RETURN_##id,
	CONFIG_RETURNS(X)
#undef X
		RETURN_COUNT
};

/* --write-answers: what is written of the online server's packets. */
#define CONFIG_ANSWERS(X)                                                                                    \
	X(HEADERS, "headers")                                                                                \
	X(ALL, "all")                                                                                        \
	X(NONE, "none")
enum config_answers {
#define X(id, name) ANSWERS_##id,
	CONFIG_ANSWERS(X)
#undef X
		ANSWERS_COUNT
};

#define CONFIG_OWN_RANGES 2u
struct port_range {
	uint16_t first, last;
};

/* One -s element. */
struct assistant_address {
	struct endpoint at;
	char text[160]; /* as typed */
};

struct config {
	struct run_config run; /* the options that both programs have */
	struct rule rules[CONFIG_MAX_RULES];
	unsigned n_rules;
	struct assistant_address assistants[CONFIG_MAX_ASSISTANTS];
	unsigned n_assistants;
	struct channel_secret *secret; /* --secret; NULL: plain */
	/*
	 * -c: addresses to use instead of the clients'; none: keep the client's or, with RETURN_OWN, that
	 * from which this host reaches the target
	 */
	struct prefix pool[CONFIG_MAX_POOL];
	const char *pool_text[CONFIG_MAX_POOL]; /* the value of -c that each is of, in argv */
	unsigned n_pool;
	bool sticky; /* --sticky */
	enum config_return way_back;
	/* --own-ports: the ranges, or how many; none and 0: all that this host leaves */
	struct port_range own_range[CONFIG_OWN_RANGES];
	unsigned n_own_ranges;
	uint32_t own_ports;
	uint64_t max_answers; /* --max-answers, bits/s; 0: no limit; UINT64_MAX: by the link */
	char interfaces[CONFIG_MAX_INTERFACES][16]; /* -i; none: what capture_interfaces() names */
	unsigned n_interfaces;
	/* --read, and files named by -i: as typed, in argv */
	const char *read[CONFIG_MAX_READ];
	unsigned n_read;
	uint64_t speed; /* --speed, millionths; 0: max */
	uint64_t rate;  /* --rate, millionths of turns a second; 0: by the recorded times */
	uint64_t gap;   /* -I, ns; UINT64_MAX: none is cut */
	uint64_t loops; /* -T */
	unsigned decap; /* --decap: bits by enum decap_kind */
	bool has_decap;
	bool has_speed;
	bool quiet;           /* -q: no progress */
	struct choice choice; /* -r, -g, --seed, --sample-by */
	bool has_seed;
	struct targets targets; /* --targets, --spread-by */
	bool has_spread_by;
	struct copies copies;  /* -n */
	uint64_t max_sessions; /* --max-sessions; 0: as many as there may be */
	uint64_t max_rate;     /* --max-rate, millionths of new sessions a second; 0: any number */
	/* --stop-after: ns, and numbers; 0: not given */
	uint64_t stop_time, stop_sessions, stop_requests;
	bool dry_run;                      /* --dry-run, by which hold is 0 */
	run_path write;                    /* --write; "": nothing is written */
	uint64_t write_rotate_bytes;       /* --write-rotate; 0: by no size */
	uint64_t write_rotate_time;        /* the same, ns; 0: by no time */
	uint64_t write_max;                /* --write-max, bytes; 0: any */
	enum config_answers write_answers; /* --write-answers */
	bool has_write_answers;
	/* --breaker and --yield; the metrics are enum strain */
	struct condition breaker[CONFIG_MAX_CONDITIONS], yield[CONFIG_MAX_CONDITIONS];
	unsigned n_breaker, n_yield;
	const char *yield_text;  /* as typed, in argv */
	char filter[1024];       /* -F: and-ed to the filter made from the rules; "" none */
	uint16_t assistant_port; /* -p: default port of assistants */
	bool keep_trying;        /* -L */
	uint64_t hold;           /* --hold, ns; 0: never wait */
	bool never_hold;         /* -W, by which hold is 0 */
	uint64_t session_buffer; /* --session-buffer, bytes a session may hold for its target */
	uint64_t memory;         /* -m, bytes all sessions may hold together */
	enum config_inject inject;
	enum capture_mode capture;
	uint64_t ring; /* -B, bytes of all capture rings together; 0: by link and memory (sources.h) */
	uint32_t mtu;  /* -M, bytes; 0: the route's */
	bool unproved; /* --unproved: replicate also what the online server is not known to have */
	bool no_join;  /* -O, by which join is none */
	enum engine_join join; /* --join, of rules that are not named there */
	bool has_join;
	struct {
		uint16_t online_port;
		enum engine_join join;
	} join_of[CONFIG_MAX_RULES]; /* --join PORT=MODE */
	unsigned n_join_of;
	bool has_probe_from;
	struct endpoint probe_from;  /* --probe-from: source of the probe; port 0: any */
	const char *probe_from_text; /* as typed, in argv */
};

/*
 * Parse the command line into *c, and check everything that can be known without privilege and without
 * traffic. Blocks while names are resolved. Returns -1 if the program has to go on; else the status to exit
 * with: 0 after -h or -v, 2 after an error, which has been printed to stderr as one line.
 */
int config_parse(struct config *c, int argc, char **argv);

/*
 * Write the capture filter for the rules and -F into @out, as pcap-filter(7) text. Returns 0, or -1 if @size
 * is too small, which CONFIG_FILTER_SIZE never is.
 */
int config_capture_filter(const struct config *c, char *out, size_t size);

/* Log what is replayed, and how fast. */
void config_log_replay(const struct config *c);

/*
 * Of the sessions that *c replicates, say which, at @now (ns, as choice_share()). "" if it is all of them.
 * Returns @buf.
 */
#define CONFIG_CHOICE_TEXT 160
char *config_choice_format(char buf[CONFIG_CHOICE_TEXT], const struct choice *c, uint64_t now);

#define PREFIX_TEXT_LEN (ADDR_TEXT_LEN + 4)

/*
 * Write *p into @buf as it is typed, 192.0.2.0/24 or 2001:db8::/64. PREFIX_TEXT_LEN fits all. Returns @buf.
 */
char *config_prefix_format(char *buf, size_t size, const struct prefix *p);

/*
 * Log the facts of the start: the rules, what is captured and how, where copies and responses go, the limits.
 */
void config_log_facts(const struct config *c);

#endif
