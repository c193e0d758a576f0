/*
 * Simulator: lwIP as the target's TCP - theory of operation
 *
 * An independent stack, as Debian ships it: built for threads (NO_SYS 0), but its raw API works
 * without any, as long as the TCP/IP thread is never started. Its clock, its initial sequence
 * numbers and its request for timers are functions of a shared library, so the ones defined here
 * take their place: time is virtual, chance comes from the seed, and tcp_fasttmr() and
 * tcp_slowtmr() are called by events. Packets go in and out at a netif. It knows neither timestamps
 * nor SACK, and its retransmission timer counts in half seconds.
 *
 * Its state is global, so one target at a time can be lwIP, and lwip_end() leaves no connection
 * behind for the next run.
 */
#include "sim.h"

#ifdef SIM_LWIP

#include <stdlib.h>
#include <string.h>

#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/tcp.h"

#include "packet/parse.h"

#define FAST (250 * NS_PER_MS)

static struct world *current;
static struct target_host *host;
static struct netif card;
static struct tcp_pcb *listener;

/* What the library would do by itself. */
u32_t sys_now(void)
{
	return current ? (u32_t)(current->now / NS_PER_MS) : 0;
}

u32_t tcp_next_iss(struct tcp_pcb *pcb)
{
	(void)pcb;
	return (u32_t)rng(current);
}

void tcp_timer_needed(void)
{
}

void sys_check_core_locking(void)
{
}

static void tick(struct world *w, void *arg, uint64_t n)
{
	(void)arg;
	if (current != w)
		return;
	tcp_fasttmr();
	if (n & 1)
		tcp_slowtmr();
	/* while there is anything that could need it */
	if (tcp_active_pcbs || tcp_tw_pcbs)
		at(w, w->now + FAST, tick, NULL, n + 1);
	else
		host->ticking = false;
}

static void wake(void)
{
	if (host->ticking)
		return;
	host->ticking = true;
	at(current, current->now + FAST, tick, NULL, 0);
}

static err_t card_output(struct netif *n, struct pbuf *p, const ip4_addr_t *to)
{
	static uint8_t packet[1 << 16];
	struct segment g;
	u16_t len = pbuf_copy_partial(p, packet, sizeof(packet) - 1, 0);

	(void)n, (void)to;
	if (parse_ip(&g, packet, len, len, CHECKSUM_VERIFY) != PARSE_OK)
		return ERR_OK; /* not TCP */
	g.time = current->now;
	g.payload = NULL;
	target_output(host, &g);
	return ERR_OK;
}

static err_t card_init(struct netif *n)
{
	n->name[0] = 's';
	n->name[1] = 'm';
	n->mtu = 1500;
	n->output = card_output;
	return ERR_OK;
}

static void push(struct served *v)
{
	static const uint8_t zeros[8192];
	struct tcp_pcb *pcb = v->pcb;

	while (pcb && v->pending && tcp_sndbuf(pcb)) {
		u16_t n = (u16_t)MIN(MIN(v->pending, sizeof(zeros)), tcp_sndbuf(pcb));

		if (tcp_write(pcb, zeros, n,
			      TCP_WRITE_FLAG_COPY | (v->pending > n ? TCP_WRITE_FLAG_MORE : 0)) != ERR_OK)
			break;
		v->pending -= n;
	}
	if (!pcb)
		return;
	tcp_output(pcb);
	if (!v->pending && v->closing && tcp_close(pcb) == ERR_OK) {
		tcp_arg(pcb, NULL);
		tcp_recv(pcb, NULL);
		tcp_err(pcb, NULL);
		tcp_sent(pcb, NULL);
		v->pcb = NULL;
		served_gone(v);
	}
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t n)
{
	(void)pcb, (void)n;
	push(arg);
	return ERR_OK;
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct served *v = arg;

	(void)err;
	if (!p) {
		served_eof(v);
		return ERR_OK;
	}
	served_arrived(v, v->read + p->tot_len);
	for (struct pbuf *q = p; q; q = q->next)
		served_data(v, q->payload, q->len);
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
	struct served *v = arg;

	trace(v->w, "target %u: connection %u ended, lwIP says %d", v->target, v->conn->index, err);
	v->pcb = NULL;
	served_gone(v);
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct endpoint peer = { .port = pcb ? pcb->remote_port : 0 };
	struct served *v;

	(void)arg;
	if (!pcb || err != ERR_OK)
		return ERR_VAL;
	peer.addr = addr_from_v4(&ip_2_ip4(&pcb->remote_ip)->addr);
	v = served_new(host, &peer, pcb->rcv_nxt - 1);
	v->pcb = pcb;
	tcp_arg(pcb, v);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
	served_connected(v);
	return ERR_OK;
}

bool lwip_start(struct world *w, struct target_host *h)
{
	static bool once;
	ip4_addr_t here, mask, gw;

	current = w;
	host = h;
	memcpy(&here.addr, addr_v4_bytes(&h->at.addr), 4);
	ip4_addr_set_zero(&mask);
	ip4_addr_set_zero(&gw);
	if (!once) {
		lwip_init();
		if (!netif_add(&card, &here, &mask, &gw, NULL, card_init, ip4_input))
			abort();
		netif_set_default(&card);
		once = true;
	}
	netif_set_addr(&card, &here, &mask, &gw);
	netif_set_up(&card);
	netif_set_link_up(&card);
	tcp_ticks = 0;
	listener = tcp_new();
	if (!listener || tcp_bind(listener, IP_ANY_TYPE, h->at.port) != ERR_OK)
		abort();
	listener = tcp_listen_with_backlog(listener, 255);
	tcp_accept(listener, on_accept);
	return true;
}

void lwip_input(struct target_host *h, const uint8_t *ip, uint32_t ip_len)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)ip_len, PBUF_RAM);
	struct segment g;

	if (!p || pbuf_take(p, ip, (u16_t)ip_len) != ERR_OK)
		abort();
	if (parse_ip(&g, ip, ip_len, ip_len, CHECKSUM_VERIFY) != PARSE_OK)
		fail(h->w, "the target cannot parse a packet");
	trace_segment(h->w, "to lwIP", &g, 0, 0);
	if (card.input(p, &card) != ERR_OK)
		pbuf_free(p);
	wake();
}

void lwip_write(struct served *v, uint32_t n)
{
	v->pending += n;
	push(v);
	wake();
}

void lwip_close_served(struct served *v)
{
	v->closing = true;
	push(v);
}

void lwip_abort(struct served *v)
{
	struct tcp_pcb *pcb = v->pcb;

	tcp_err(pcb, NULL);
	v->pcb = NULL;
	tcp_abort(pcb);
}

/* Nothing of this run may meet the next one. */
void lwip_end(struct target_host *h)
{
	(void)h;
	netif_set_down(&card);
	while (tcp_active_pcbs) {
		tcp_err(tcp_active_pcbs, NULL);
		tcp_abort(tcp_active_pcbs);
	}
	while (tcp_tw_pcbs)
		tcp_abort(tcp_tw_pcbs);
	tcp_close(listener);
	current = NULL;
}

#else

bool lwip_start(struct world *w, struct target_host *h)
{
	(void)w, (void)h;
	return false;
}

void lwip_input(struct target_host *h, const uint8_t *ip, uint32_t ip_len)
{
	(void)h, (void)ip, (void)ip_len;
}

void lwip_write(struct served *v, uint32_t n)
{
	(void)v, (void)n;
}

void lwip_close_served(struct served *v)
{
	(void)v;
}

void lwip_abort(struct served *v)
{
	(void)v;
}

void lwip_end(struct target_host *h)
{
	(void)h;
}

#endif
