#ifndef TCPCOPY_CONFIG_PARTS_H
#define TCPCOPY_CONFIG_PARTS_H

#include "base/util.h"
#include "tcpcopy/config/config.h"

/*
 * The parts of config_parse(), for this folder alone; the fuzzer calls them one by one. Those that return
 * words return NULL on success, or else what is wrong, for the middle of a message, as args_option.set()
 * does.
 */

/*
 * Append the rules of @list, the value of -x as typed, to *c. May be called again for another option. Names
 * are resolved, which may block.
 */
const char *config_add_rules(struct config *c, const char *list);

/* The same for the assistants of -s. An assistant without a port gets the port 0. */
const char *config_add_assistants(struct config *c, const char *list);

/* The same for the addresses of -c. There are no names among them. */
const char *config_add_pool(struct config *c, const char *list);

/* Set the ports of --own-ports: A-B or A-B,C-D in order, or a number. */
const char *config_add_own_ports(struct config *c, const char *list);

/* Take the value of --join: MODE, or PORT=MODE for the rules with that online port, in a list. */
const char *config_add_joins(struct config *c, const char *list);

/*
 * Once all options are known: give each rule its --join. Returns NULL, or what is wrong.
 */
const char *config_set_joins(struct config *c);

/* Parse HOST or HOST:PORT, as an element of -s, into *e. Without a port it is 0. Names are resolved. */
const char *config_parse_endpoint(struct endpoint *e, const char *text);

/* replay.c: take a file of --read; the other options of a replay; are they right together? */
const char *config_add_file(struct config *c, const char *path);
const char *config_set_speed(struct config *c, const char *value);
const char *config_set_rate(struct config *c, const char *value);
const char *config_set_gap(struct config *c, const char *value);
const char *config_set_loops(struct config *c, const char *value);
const char *config_set_decap(struct config *c, const char *value);

/* copies.c: how many copies there are of a session. */
const char *config_set_copies(struct config *c, const char *value);
const char *config_set_spread(struct config *c, const char *value);
const char *config_set_targets(struct config *c, const char *value);
const char *config_set_spread_by(struct config *c, const char *value);
/* As config_check_replay(). */
const char *config_check_copies(const struct config *c, const char **option);
/* Write how many there are, " -n 2 times"; "" for one. Returns @buf. */
#define CONFIG_COPIES_TEXT 64
char *config_copies_format(char buf[CONFIG_COPIES_TEXT], const struct config *c);

/* choice.c: how much is replicated. */
const char *config_set_sample(struct config *c, const char *value);
const char *config_set_seed(struct config *c, const char *value);
const char *config_set_sample_by(struct config *c, const char *value);
const char *config_set_ramp(struct config *c, const char *value);
const char *config_set_max_sessions(struct config *c, const char *value);
const char *config_set_max_rate(struct config *c, const char *value);
const char *config_set_stop_after(struct config *c, const char *value);
const char *config_set_breaker(struct config *c, const char *value);
const char *config_set_yield(struct config *c, const char *value);
/* As config_check_replay(). */
const char *config_check_choice(const struct config *c, const char **option);

/* write.c: how files of --write are rotated, and what is in them; are the options right together? */
const char *config_set_rotate(struct config *c, const char *value);
const char *config_set_answers(struct config *c, const char *value);
/* As config_check_replay(), of --write. */
const char *config_check_write(const struct config *c, const char **option);

/* Is the value of -i no interface, but a file? */
bool config_is_file(const char *value);

/*
 * Of a replay: is there anything that contradicts it? NULL if not; else what, with the name of the option in
 * *option.
 */
const char *config_check_replay(const struct config *c, const char **option);

/*
 * Does the configuration make sense as a whole, and on this host? Returns 0; or 2, the status to exit with,
 * after a line on stderr that says why not.
 */
int config_check(const struct config *c);

#endif
