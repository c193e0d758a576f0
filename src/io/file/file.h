#ifndef IO_FILE_FILE_H
#define IO_FILE_FILE_H

#include "packet/parse.h"

/* Set *link to libpcap's link type @dlt. False: it is not supported. */
bool file_link(int dlt, enum link_type *link);

/*
 * How the checksum of a packet from a file is to be looked at: CHECKSUM_PARTIAL if the field holds exactly
 * the sum of the pseudo-header, which says that it was captured before the device had filled it in.
 */
enum checksum_state file_checksum(const struct raw_packet *p);

#endif
