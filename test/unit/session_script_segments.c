/*
 * The lines of a script that are about segments: what the client sent goes into the engine as a
 * parsed packet with generated payload, what the target answered as a response record with the id
 * that the engine announced, and what the engine emitted is compared with the line. A field that
 * the line does not name is not compared, except flags, sequence number, length, ack, addresses and
 * every byte of the payload.
 */
#include "session_script_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/wheel.h"
#include "packet/options.h"
#include "packet/text.h"

bool script_captured(struct script *s, const char *name, char *text)
{
	struct script_segment w;
	struct segment g = { .ttl = 64, .df = true };
	uint64_t times;
	const bool bad_times = !script_times(text, &times);
	const char *fault = script_segment(text, &w);
	struct flow_key k;
	uint8_t *payload;
	char line[SEGMENT_TEXT_LEN];

	if (fault || bad_times)
		return script_fail(s, "%s", fault ? fault : "times N");
	if (!script_key(s, name, &k))
		return false;
	g.tuple = (struct tuple){ .src = k.client, .dst = k.online };
	g.time = s->h.now - w.late;
	g.ack = w.ack;
	g.len = w.len;
	g.captured = w.captured;
	g.flags = w.flags;
	g.window = (uint16_t)w.win;
	g.urgent = (uint16_t)w.urg;
	g.ip_id = (uint16_t)w.id;
	g.gso_size = (uint16_t)w.gso;
	g.tos = (uint8_t)w.tos;
	if (w.has_ttl)
		g.ttl = (uint8_t)w.ttl;
	g.raw_options = w.options;
	g.raw_options_len = w.options_len;
	tcp_options_parse(&g.opt, w.options, w.options_len);
	payload = malloc(w.captured +
			 1u); /* exactly as much as was captured: reading on is found by the sanitizer */
	assert(payload);
	g.payload = payload;
	for (g.seq = w.seq; times--; g.seq += w.len) {
		for (uint32_t i = 0; i < w.captured; i++)
			payload[i] = script_payload(&w, g.seq + (w.flags & TCPF_SYN ? 1 : 0), i);
		script_note(s, "%10.3f captured  %s\n", script_ms(s->h.now),
			    segment_format(line, sizeof(line), &g));
		harness_captured(&s->h, &k, &g);
	}
	free(payload);
	return true;
}

/* A SYN-ACK, RST or payload of the online server, captured on its way out. */
bool script_server(struct script *s, char *text, bool ahead)
{
	struct script_segment w;
	const char *fault = script_segment(text, &w);
	struct segment g = { .ttl = 64, .df = true };
	uint8_t payload[64];
	struct flow_key k;
	char line[SEGMENT_TEXT_LEN];

	if (fault)
		return script_fail(s, "%s", fault);
	if (!script_key(s, w.name, &k))
		return false;
	g.tuple = (struct tuple){ .src = k.online, .dst = k.client };
	g.time = s->h.now - w.late;
	g.seq = w.seq;
	g.ack = w.ack;
	g.flags = w.flags;
	g.window = (uint16_t)w.win;
	g.raw_options = w.options;
	g.raw_options_len = w.options_len;
	tcp_options_parse(&g.opt, w.options, w.options_len);
	g.len = w.len;
	g.captured = MIN(w.captured, sizeof(payload));
	for (uint32_t i = 0; i < g.captured; i++)
		payload[i] = script_payload(&w, g.seq, i);
	g.payload = payload;
	script_note(s, "%10.3f server    %s\n", script_ms(s->h.now), segment_format(line, sizeof(line), &g));
	if (ahead)
		harness_server_resets(&s->h, &k, &g);
	else
		harness_server(&s->h, &k, &g);
	return true;
}

bool script_response(struct script *s, char *text)
{
	struct script_segment w;
	const char *fault = script_segment(text, &w);
	struct response r = { 0 };
	struct flow_key k;
	struct tuple response;
	struct segment shown = { 0 };
	char line[SEGMENT_TEXT_LEN];

	if (fault)
		return script_fail(s, "%s", fault);
	if (!script_key(s, w.name, &k))
		return false;
	response = (struct tuple){ .src = s->h.target[k.target], .dst = harness_source(&s->h, &k) };
	r.id = harness_watched(&s->h, &response, w.age);
	if (!r.id)
		return script_fail(s, "the engine has not announced %s", w.name);
	r.seq = w.seq;
	r.ack = w.ack;
	r.len = w.len;
	r.window = (uint16_t)w.win;
	r.flags = w.flags;
	r.dup_acks = (uint8_t)w.dup;
	r.merged = (uint16_t)w.merged;
	tcp_options_parse(&r.opt, w.options, w.options_len);
	shown.tuple = response;
	shown.seq = w.seq;
	shown.ack = w.ack;
	shown.len = shown.captured = w.len;
	shown.window = r.window;
	shown.flags = w.flags;
	shown.raw_options = w.options;
	shown.raw_options_len = w.options_len;
	script_note(s, "%10.3f response  %s\n", script_ms(s->h.now),
		    segment_format(line, sizeof(line), &shown));
	harness_response(&s->h, &r);
	return true;
}

/* How @m differs from @w; NULL: not at all. */
static const char *difference(const struct script_segment *w, const struct harness_emission *m,
			      const struct tuple *tuple)
{
	const struct tx_segment *t = &m->t;

	if (!tuple_eq(&t->tuple, tuple))
		return "other addresses";
	if (t->flags != w->flags)
		return "flags";
	if (t->seq != w->seq)
		return "sequence number";
	if (t->len != w->len)
		return "length";
	if (t->flags & TCPF_ACK && !w->has_ack)
		return "the line has no ack";
	if (w->has_ack && t->ack != w->ack)
		return "ack";
	if (w->has_win && t->window != w->win)
		return "window";
	if (w->has_id && t->ip_id != w->id)
		return "IP id";
	if (w->has_ttl && t->ttl != w->ttl)
		return "TTL";
	if (w->has_tos && t->tos != w->tos)
		return "TOS";
	if (w->has_gso && t->gso_size != w->gso)
		return "gso size";
	if (w->has_urg && t->urgent != w->urg)
		return "urgent pointer";
	if (w->has_options &&
	    (t->options_len != w->options_len || memcmp(t->options, w->options, w->options_len)))
		return "options";
	for (uint32_t i = 0; i < t->len; i++)
		if (m->payload[i] != script_payload(w, t->seq, i))
			return "payload";
	return NULL;
}

bool script_emits(struct script *s, char *text)
{
	struct harness_emission *m;
	char expected[SCRIPT_LINE], emitted[SEGMENT_TEXT_LEN];
	struct script_segment w;
	const char *fault;
	struct tuple tuple;
	struct flow_key k;

	if (!strncmp(text, "nothing", 7))
		return script_all_named(s);
	snprintf(expected, sizeof(expected), "%s", text);
	fault = script_segment(text, &w);
	if (fault)
		return script_fail(s, "%s", fault);
	if (!script_key(s, w.name, &k))
		return false;
	tuple = (struct tuple){ .src = harness_source(&s->h, &k), .dst = s->h.target[k.target] };
	m = harness_take(&s->h);
	if (!m)
		return script_fail(s, "expected: %s\n emitted: nothing", expected);
	fault = difference(&w, m, &tuple);
	tx_segment_format(emitted, sizeof(emitted), &m->t);
	if (fault)
		script_fail(s, "%s\nexpected: %s\n emitted: %s id %u ttl %u tos 0x%02x", fault, expected,
			    emitted, m->t.ip_id, m->t.ttl, m->t.tos);
	else if (m->at + WHEEL_TICK_NS < s->at)
		script_fail(s, "emitted %.3f ms too early: %s", (double)(s->at - m->at) / 1e6, emitted);
	s->at = m->at; /* what follows is counted from when it happened */
	script_note(s, "%10.3f   emitted %s id %u\n", script_ms(m->at), emitted, m->t.ip_id);
	harness_emission_free(m);
	return !s->failed;
}
