#ifndef IO_HOST_OFFLOADS_H
#define IO_HOST_OFFLOADS_H

#include <stddef.h>

/*
 * The offloads of an interface that join or cut segments and are on: "rx-gro tx-tcp-segmentation".
 * Empty: none, or the device does not say. Needs no privilege. Returns @buf.
 */
char *offloads_text(char *buf, size_t size, const char *interface);

#endif
