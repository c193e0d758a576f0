#ifndef PROGRAM_HELPER_NFT_IMPL_H
#define PROGRAM_HELPER_NFT_IMPL_H

#include "program/helper/nft.h"

struct nlattr;

#define NFT_FAMILIES 2 /* at most, for one table */

/* Shared by nft.c, nft_table.c, nft_own.c and nft_rule.c; no other file includes it. */

/* --- nft.c: messages of the batch --- */

/*
 * Begin a message (NFT_MSG_*) about @table, or its part of @family (NFPROTO_*); @attribute holds the table's
 * name. End it with nft_end().
 */
struct nlmsghdr *nft_begin(struct nft *n, uint16_t message, uint16_t flags, uint8_t family,
			   uint16_t attribute, enum nft_table table);
/* End the message @h, which is now part of the batch. */
void nft_end(struct nft *n, struct nlmsghdr *h);

/* --- nft_table.c: what the tables are --- */

/* The name of @table in the kernel. */
const char *nft_table_name(const struct nft *n, enum nft_table table);

/* The families (NFPROTO_*) in which the kernel has a table of that name for us, ended by 0. */
const uint8_t *nft_table_families(const struct nft *n, enum nft_table table);

/* Append all messages that create @table; @pid goes into its comment. */
void nft_put_table(struct nft *n, enum nft_table table, pid_t pid,
		   const struct nft_ports ports[NFT_PORTS_MAX]);
/* Append the messages that add (NFT_MSG_NEWSETELEM) or delete (NFT_MSG_DELSETELEM) @count elements. */
void nft_put_elements(struct nft *n, uint16_t message, enum nft_table table, const struct nft_element *e,
		      unsigned count);

/* Append an empty set; @number tells the sets of a batch apart. */
void nft_put_set(struct nft *n, enum nft_table table, uint8_t family, const char *name, uint32_t key_type,
		 uint32_t key_len, uint32_t number);

/* A hook of the kernel, for a chain of filters. */
struct nft_hook {
	uint32_t number; /* NF_INET_*, or NF_NETDEV_INGRESS of the devices of *n */
	int priority;
};
/* Append a chain that accepts what no rule decides; @hook NULL: one that rules jump to. */
void nft_put_chain(struct nft *n, enum nft_table table, uint8_t family, const char *name,
		   const struct nft_hook *hook);

/* Begin a rule at the end of a chain. nft_match() and the functions of nft_rule.c take its message. */
struct nlmsghdr *nft_rule_of(struct nft *n, enum nft_table table, uint8_t family, const char *chain);

/* The sets of one family. */
struct nft_set {
	const char *name;
	uint8_t nfproto;
	uint16_t ethertype;     /* the same, as the family netdev has it */
	uint32_t key_type;      /* nft(8)'s types, six bits each; only for its display */
	uint32_t address_len;   /* bytes */
	uint32_t source_offset; /* of the addresses in the IP header */
	uint32_t port_reg;      /* the register that follows the address */
	uint32_t to_reg;        /* NFT_OWN: the register that follows the port; else 0 */
};

/* Go on only for TCP that comes from an element of *s; @ingress: in the family netdev. */
void nft_match(struct nlmsghdr *h, const struct nft_set *s, bool ingress);

/* --- nft_own.c: the table of a tcpcopy without an assistant --- */

extern const struct nft_set nft_own_sets[2];

/* Append the sets, chains and rules of NFT_OWN. */
void nft_put_own(struct nft *n, const struct nft_ports ports[NFT_PORTS_MAX]);

/* --- nft_rule.c: what a rule is made of --- */

/* Append a number in network byte order, as most attributes of nf_tables are. */
void nft_put(struct nlmsghdr *h, uint16_t type, uint32_t value);

/*
 * Begin a rule in the message @h, which has room for a whole one. Each of the functions below nft_rule_end()
 * appends one expression to it. Registers are NFT_REG_* and NFT_REG32_*. Values that come from the packet are
 * in network byte order, others in host byte order.
 */
struct nlattr *nft_rule_begin(struct nlmsghdr *h);

/* End the rule that nft_rule_begin() has returned. */
void nft_rule_end(struct nlmsghdr *h, struct nlattr *rule);

/* Load a fact about the packet (NFT_META_*) into the register @reg. */
void nft_meta(struct nlmsghdr *h, uint32_t key, uint32_t reg);
/* Load @len bytes at @offset of the header @base (NFT_PAYLOAD_*) into the register @reg. */
void nft_payload(struct nlmsghdr *h, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg);
/* Load the type (RTN_*) that this host's routing gives the destination address. */
void nft_fib_daddr_type(struct nlmsghdr *h, uint32_t reg);
/* Go on only if the register compares so (NFT_CMP_*) with @len bytes at @value. */
void nft_cmp(struct nlmsghdr *h, uint32_t reg, uint32_t op, const void *value, size_t len);
/* Go on only if the set contains the register and those that follow it. */
void nft_lookup(struct nlmsghdr *h, uint32_t reg, const char *set);
/* Count the packets and bytes that reach this expression. */
void nft_counter(struct nlmsghdr *h);

/* Load whether the socket that the packet is for is bound to no address; no socket: the rule ends here. */
void nft_socket_wildcard(struct nlmsghdr *h, uint32_t reg);
/* Connection tracking is not to see the packet. */
void nft_notrack(struct nlmsghdr *h);

/* Decide about the packet: @code is NF_ACCEPT or NF_DROP. */
void nft_verdict(struct nlmsghdr *h, uint32_t code);
/* Go on with the chain @name, and then with the policy. */
void nft_goto(struct nlmsghdr *h, const char *name);

#endif
