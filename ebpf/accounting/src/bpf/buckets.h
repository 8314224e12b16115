/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Histograms of durations, see BUCKETS. */
#ifndef TEPUI_BUCKETS_H
#define TEPUI_BUCKETS_H

/* The bucket of a duration: the number of its bits. Always below BUCKETS. */
static __always_inline __u32 bucket_of(__u64 micros)
{
	__u32 bits = 0;

	if (micros >> 32)
		return BUCKETS - 1;
	__u32 rest = micros;

	if (rest >> 16) {
		bits += 16;
		rest >>= 16;
	}
	if (rest >> 8) {
		bits += 8;
		rest >>= 8;
	}
	if (rest >> 4) {
		bits += 4;
		rest >>= 4;
	}
	if (rest >> 2) {
		bits += 2;
		rest >>= 2;
	}
	if (rest >> 1) {
		bits += 1;
		rest >>= 1;
	}
	bits += rest;
	return bits < BUCKETS ? bits : BUCKETS - 1;
}

#endif
