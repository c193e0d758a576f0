#ifndef CHANNEL_ENDS_H
#define CHANNEL_ENDS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "channel/conn.h"

/* One end under test and what it told. */
struct end {
	struct channel_conn *conn;
	unsigned ups, messages, batches, drains, downs;
	uint64_t last_id;
	uint16_t version;
	struct msg_hello peer;
	char why[200];
	bool close_on_up, close_on_message, close_on_batch_end;
	bool numbered; /* the ids of its messages must be 1, 2, 3, ... */
};

extern struct event_base *base;              /* the test makes it */
extern const struct channel_handler handler; /* its arg: a struct end */
extern const struct channel_options intercept_options, tcpcopy_options;
extern const struct message watch;

/* Run the loop until *counter is @at_least, or fail. Time stands still meanwhile. */
void run_until(const unsigned *counter, unsigned at_least);
/* Run it until nothing is left to do between ends that are both here. */
void settle(void);
/* Let @ms go by, and run what is due in them. */
void pass(unsigned ms);
/* The next connection that is made to @listener, not blocking. */
int accept_next(int listener);
/* A listener on loopback, not blocking; *@at: where. */
int listen_on_loopback(struct endpoint *at, int backlog);
/* A raw socket that plays the peer of @e. */
int raw_peer(struct end *e, const struct channel_options *o);
void say(int fd, const struct message *m);
void say_hello(int fd, uint16_t min, uint16_t max);
/* The next message that the end under test sent to @fd; false at EOF. */
bool hear(int fd, struct message *m);
/* Both up, over a socketpair. */
void two_ends(struct end *a, struct end *b);

#endif
