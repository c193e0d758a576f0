#ifndef PROGRAM_HELPER_NFT_H
#define PROGRAM_HELPER_NFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The only writer of nf_tables. It runs in the helper process (helper.h), which has the capability that it
 * needs. These are the tables it can create.
 */
enum nft_table {
	NFT_GUARD, /* intercept --guard: drops what targets send and this host would forward */
	NFT_OWN,   /* tcpcopy without an assistant: drops what targets answer to ports that it uses here */
	NFT_TABLES
};

#define NFT_GUARD_NAME "tcpcopy_intercept" /* of the families inet and netdev */
#define NFT_OWN_NAME "tcpcopy_own_%ld"     /* of the family inet; the PID, for a host may have several */
#define NFT_NAME_LEN 40

/* One endpoint in a table's sets. Addresses are in network byte order; IPv4 uses the first four bytes. */
struct nft_element {
	uint8_t family; /* 4 or 6 */
	uint8_t zero;
	uint16_t port; /* host byte order */
	uint8_t address[16];
	uint8_t to[16]; /* NFT_OWN: the address of this host that it answers to; else 0 */
};

/* NFT_OWN: a range of ports of this host, host byte order. {0, 0}: none. */
struct nft_ports {
	uint16_t first, last;
};
#define NFT_PORTS_MAX 2u

#define NFT_ELEMENTS_MAX 64u /* per call */
#define NFT_DEVICES_MAX 32u

/* The interfaces behind whose taps NFT_GUARD drops: those that are captured on. */
struct nft_devices {
	unsigned count;
	char name[NFT_DEVICES_MAX][16];
};

/* Is every field valid for @table, and can a TCP segment come from the address? */
bool nft_element_valid(const struct nft_element *e, enum nft_table table);

struct nlmsghdr;

struct nft {
	int fd;
	bool owning;                       /* tables end with this socket */
	bool tracked;                      /* this kernel cannot exempt packets from connection tracking */
	char own_name[NFT_NAME_LEN];       /* of NFT_OWN; nft_create() sets it */
	const struct nft_devices *devices; /* not owned */
	uint16_t refused; /* the message that the kernel refused: NFT_MSG_*, or NFT_NO_MESSAGE */
	/* The batch. */
	char *batch;
	size_t len; /* bytes */
	struct nlmsghdr *last;
	uint32_t seq, first; /* numbers of the last message and the first one */
};

#define NFT_NO_MESSAGE 0xffffu

/* What the rules of a table have dropped. */
struct nft_count {
	uint64_t packets, bytes; /* of IP, with headers */
};

/* All functions that return int return 0, or a negative errno and set n->refused. */

/*
 * Open the socket that tables belong to. @devices must stay; NULL: none. EPROTONOSUPPORT: this kernel has no
 * nfnetlink.
 */
int nft_open(struct nft *n, const struct nft_devices *devices);
/* The same on a socket of the caller's, for tests; nft_close() closes it. */
int nft_use(struct nft *n, int fd, const struct nft_devices *devices);
/* Close the socket. From Linux 5.12 on, the kernel now removes the tables that belong to it. */
void nft_close(struct nft *n);

/*
 * Create a table with empty sets. An existing one of that name that nobody owns is replaced in the same
 * transaction, and *@replaced set. @pid goes into the table's comment, for people. @ports are those of
 * NFT_OWN, whose table must end with this socket: without the flag it is refused. EPERM with refused ==
 * NFT_MSG_DELTABLE: another process owns the table; any other EPERM: CAP_NET_ADMIN is missing. EINVAL or
 * EOPNOTSUPP with refused == NFT_MSG_GETTABLE: this kernel has no nf_tables.
 */
int nft_create(struct nft *n, enum nft_table table, pid_t pid, const struct nft_ports ports[NFT_PORTS_MAX],
	       bool *replaced);
/* Delete a table with everything in it. ENOENT: there is no such table. */
int nft_delete(struct nft *n, enum nft_table table);

/* Add @count elements (1 to NFT_ELEMENTS_MAX), all or none. Adding an element that is there succeeds. */
int nft_add(struct nft *n, enum nft_table table, const struct nft_element *e, unsigned count);

/* Delete @count elements (1 to NFT_ELEMENTS_MAX), all or none. ENOENT: one of them is not there. */
int nft_remove(struct nft *n, enum nft_table table, const struct nft_element *e, unsigned count);

/* Read the counters of all rules. EAGAIN: somebody keeps changing rules on this host. */
int nft_count(struct nft *n, enum nft_table table, struct nft_count *count);

/* Can this process create tables here? Creates none. */
int nft_possible(void);

/* What a negative errno and n->refused mean, in words for an operator. Returns @buf. */
const char *nft_words(int error, uint16_t refused, char *buf, size_t size);

#endif
