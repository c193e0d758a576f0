/*
 * The privileged helper at the command line, for the system tests. Prints the helper's pid, then reads
 * commands, a line each, and prints what is answered: "ok", or the error in words.
 *
 *   create | delete                   the guard's table; "ok replaced", "ok owning"
 *   add | remove ADDRESS PORT [ADDRESS PORT]...
 *   count                             "ok PACKETS BYTES"
 *   raw HEX                           these bytes instead of a request
 *
 * Arguments are the interfaces behind whose taps it drops. Its end is the helper's.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "program/helper/helper.h"

#define BLANK " \n"

static void print(const struct helper_request *r, const struct helper_answer *a)
{
	char why[256];

	if (a->error)
		printf("%s\n", nft_words(a->error, a->refused, why, sizeof(why)));
	else if (r->kind == HELPER_COUNT)
		printf("ok %" PRIu64 " %" PRIu64 "\n", a->count.packets, a->count.bytes);
	else if (r->kind == HELPER_CREATE)
		printf("ok%s%s\n", a->replaced ? " replaced" : "", a->owning ? " owning" : "");
	else
		printf("ok\n");
}

static bool read_elements(struct helper_request *r)
{
	const char *address, *port;

	while (r->count < NFT_ELEMENTS_MAX && (address = strtok(NULL, BLANK)) &&
	       (port = strtok(NULL, BLANK))) {
		struct nft_element *e = &r->element[r->count++];

		e->family = strchr(address, ':') ? 6 : 4;
		e->port = (uint16_t)atoi(port);
		if (inet_pton(e->family == 6 ? AF_INET6 : AF_INET, address, e->address) != 1)
			return false;
	}
	return r->count;
}

static void send_raw(struct helper *h, const char *hex)
{
	struct pollfd p = { .fd = helper_fd(h), .events = POLLIN };
	struct helper_answer a = { .error = -ETIMEDOUT };
	unsigned char bytes[4096];
	size_t len = 0;
	unsigned byte;

	while (hex && len < sizeof(bytes) && sscanf(hex + 2 * len, "%2x", &byte) == 1)
		bytes[len++] = (unsigned char)byte;
	if (send(helper_fd(h), bytes, len, MSG_NOSIGNAL) == (ssize_t)len && poll(&p, 1, 5000) == 1)
		helper_receive(h, &a);
	print(&(struct helper_request){ 0 }, &a);
}

static void print_pid(void)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	long pid = 0;

	if (f && fscanf(f, "%ld", &pid) == 1)
		printf("%ld\n", pid);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	static const char *const kinds[HELPER_KINDS] = { [HELPER_CREATE] = "create",
							 [HELPER_DELETE] = "delete",
							 [HELPER_ADD] = "add",
							 [HELPER_REMOVE] = "remove",
							 [HELPER_COUNT] = "count" };
	struct nft_devices devices = { 0 };
	struct helper *h;
	char line[8192];

	for (int i = 1; i < argc && devices.count < NFT_DEVICES_MAX; i++)
		snprintf(devices.name[devices.count++], sizeof(devices.name[0]), "%s", argv[i]);
	h = helper_open("helpertool", &devices, false);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!h)
		return 1;
	print_pid();
	while (fgets(line, sizeof(line), stdin)) {
		struct helper_request r = { .table = NFT_GUARD };
		const char *word = strtok(line, BLANK);
		struct helper_answer a;

		if (word && !strcmp(word, "raw")) {
			send_raw(h, strtok(NULL, BLANK));
			continue;
		}
		for (uint8_t kind = HELPER_CREATE; word && kind < HELPER_KINDS; kind++)
			if (!strcmp(word, kinds[kind]))
				r.kind = kind;
		if (!r.kind || ((r.kind == HELPER_ADD || r.kind == HELPER_REMOVE) && !read_elements(&r))) {
			printf("usage: see the head of helpertool.c\n");
			continue;
		}
		helper_ask(h, &r, &a);
		print(&r, &a);
	}
	helper_close(h);
	return 0;
}
