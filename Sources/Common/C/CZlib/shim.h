#pragma once
#include <zlib.h>

// Macros in zlib.h. Negative: raw deflate, without zlib's own header, as RFC 7692 wants it.
static inline int chat_deflate_init(z_streamp stream, int level, int window_bits, int memory_level) {
    return deflateInit2(stream, level, Z_DEFLATED, -window_bits, memory_level, Z_DEFAULT_STRATEGY);
}
static inline int chat_inflate_init(z_streamp stream, int window_bits) { return inflateInit2(stream, -window_bits); }
// 16 more selects gzip's header and trailer with its checksum.
static inline int chat_gunzip_init(z_streamp stream) { return inflateInit2(stream, 15 + 16); }
