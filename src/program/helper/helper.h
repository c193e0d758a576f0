#ifndef PROGRAM_HELPER_HELPER_H
#define PROGRAM_HELPER_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "program/helper/nft.h"

/*
 * A process that keeps CAP_NET_ADMIN for a program that gives it up (helper.c). It carries out these requests
 * and nothing else.
 */
enum helper_kind {
	HELPER_CREATE = 1, /* create a table */
	HELPER_DELETE,     /* delete it */
	HELPER_ADD,        /* add elements to it */
	HELPER_REMOVE,     /* delete elements from it */
	HELPER_COUNT,      /* read what its rules have dropped */
	HELPER_KINDS
};

struct helper_request {
	uint32_t id;    /* helper_send() sets it; the answer repeats it */
	uint8_t kind;   /* enum helper_kind */
	uint8_t table;  /* enum nft_table */
	uint16_t count; /* of elements: 1 to NFT_ELEMENTS_MAX for ADD and REMOVE, else 0 */
	struct nft_ports ports[NFT_PORTS_MAX]; /* CREATE of NFT_OWN: at least one range; else none */
	struct nft_element element[NFT_ELEMENTS_MAX];
};

struct helper_answer {
	uint32_t id;
	int32_t error;          /* 0 or a negative errno; nft_words() explains it ... */
	uint16_t refused;       /* ... with this */
	uint8_t replaced;       /* CREATE: the table existed */
	uint8_t owning;         /* CREATE: the table ends with the helper, and nobody else can change it */
	uint32_t zero;          /* so that no byte is uninitialised */
	struct nft_count count; /* COUNT */
};

/* Are the @len bytes at @data a struct helper_request that is valid in every byte? */
bool helper_request_valid(const void *data, size_t len);

struct helper;

/*
 * Fork the helper. Call this before the program starts threads or enters its sandbox, on a thread that lives
 * as long as the program: the helper ends with that thread. @name is what ps(1) shows, at most 15 bytes.
 * Its tables are for @devices (NULL: none), which no request can change. With @no_sandbox the helper only
 * limits its capabilities. Returns NULL with errno on failure.
 */
struct helper *helper_open(const char *name, const struct nft_devices *devices, bool no_sandbox);
/* End the helper and wait for its end. The tables that it owns end as well. */
void helper_close(struct helper *h);

/* For tests: a helper whose part the caller plays at the other end of @fd, a SOCK_SEQPACKET socket. */
struct helper *helper_of(int fd);

/* A descriptor that is readable when an answer has come or the helper has ended. */
int helper_fd(const struct helper *h);

/* Send a request without waiting. Returns false if the helper has ended, or hangs and its socket is full. */
bool helper_send(struct helper *h, struct helper_request *r);

/* Receive an answer into *a without waiting. Returns 1, 0 if none has come, or -1 if the helper has ended. */
int helper_receive(struct helper *h, struct helper_answer *a);

/*
 * Send a request and wait up to 10 s for its answer: for the start and the end of a program. Without an
 * answer, a->error is -EPIPE (the helper has ended) or -ETIMEDOUT. Returns a->error.
 */
int helper_ask(struct helper *h, struct helper_request *r, struct helper_answer *a);

#endif
