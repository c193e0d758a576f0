#ifndef IO_HOST_OFFLOADS_H
#define IO_HOST_OFFLOADS_H

#include <stddef.h>

/*
 * Write the offloads of @interface that merge or split segments and are enabled into @buf, such as "rx-gro
 * tx-tcp-segmentation". It is empty if there are none or the device does not say. Needs no privilege. Returns
 * @buf.
 */
char *offloads_text(char *buf, size_t size, const char *interface);

/* The speed of the link of @interface in Mbit/s, as its driver has it; 0: it does not say. */
unsigned link_speed(const char *interface);

#endif
