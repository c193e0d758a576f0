#ifndef IO_HOST_SETTINGS_H
#define IO_HOST_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/addr.h"

/*
 * Changes of this host's addresses, routes and rules (rtnetlink). They need CAP_NET_ADMIN, and most outlive
 * the process. @fd is from settings_open(). Each returns 0, or -1 with errno. What is there already is no
 * error when it is to be made, nor is what is not there when it is to be removed.
 */

/* Marks our routes and rules for "ip route" and "ip rule", as "proto 84". */
#define SETTINGS_PROTOCOL 84

/* A socket for changes, or -1 with errno. */
int settings_open(void);

/*
 * Set the new interface @name up, without a queueing discipline, and let the device itself have room for
 * @packets. Returns its index, or 0 with errno.
 */
int settings_interface_up(const char *name, int packets);

/* The index of the interface that has the address @a; 0: none. */
int settings_interface_of(const struct addr *a);

/*
 * @a is an address of interface @ifindex, alone and without being looked for by others. With @seconds it ends
 * after that time unless it is made again, and no connection of this host uses it by itself.
 */
int settings_address(int fd, bool make, int ifindex, const struct addr *a, uint32_t seconds);

/* The default route of @family (AF_) in @table leads to @ifindex; 0: into a black hole. */
int settings_route(int fd, bool make, int family, uint32_t table, int ifindex, uint32_t metric);

/* Packets from the address @from follow @table. The lowest priority is asked first. */
int settings_rule(int fd, bool make, const struct addr *from, uint32_t table, uint32_t priority);

/* Give the source of each rule for @table with SETTINGS_PROTOCOL to @fn, which needs no privilege. */
int settings_rules(uint32_t table, void (*fn)(const struct addr *from, void *arg), void *arg);

#endif
