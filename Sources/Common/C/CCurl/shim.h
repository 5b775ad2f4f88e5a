#pragma once
#include <curl/curl.h>

// curl_easy_setopt and curl_easy_getinfo are variadic, which Swift cannot call.
static inline CURLcode chat_curl_set_long(CURL *c, CURLoption o, long v) { return curl_easy_setopt(c, o, v); }
static inline CURLcode chat_curl_set_off(CURL *c, CURLoption o, curl_off_t v) { return curl_easy_setopt(c, o, v); }
static inline CURLcode chat_curl_set_string(CURL *c, CURLoption o, const char *v) { return curl_easy_setopt(c, o, v); }
static inline CURLcode chat_curl_set_pointer(CURL *c, CURLoption o, void *v) { return curl_easy_setopt(c, o, v); }
static inline CURLcode chat_curl_set_list(CURL *c, CURLoption o, struct curl_slist *v) {
    return curl_easy_setopt(c, o, v);
}
typedef size_t (*chat_curl_callback)(char *, size_t, size_t, void *);
static inline CURLcode chat_curl_set_callback(CURL *c, CURLoption o, chat_curl_callback v) {
    return curl_easy_setopt(c, o, v);
}
static inline CURLcode chat_curl_set_seek(CURL *c, int (*v)(void *, curl_off_t, int)) {
    return curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, v);
}
static inline CURLcode chat_curl_set_progress(
    CURL *c, int (*v)(void *, curl_off_t, curl_off_t, curl_off_t, curl_off_t)
) {
    return curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, v);
}
typedef curl_socket_t (*chat_curl_open_socket)(void *, curlsocktype, struct curl_sockaddr *);
static inline CURLcode chat_curl_set_open_socket(CURL *c, chat_curl_open_socket v) {
    return curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, v);
}
// The address is a flexible part of the struct, which Swift sees as a plain sockaddr.
static inline const struct sockaddr *chat_curl_address(const struct curl_sockaddr *a) { return &a->addr; }
// The socket of a transfer with CURLOPT_CONNECT_ONLY, which stays libcurl's; -1 without one.
static inline curl_socket_t chat_curl_socket(CURL *c) {
    curl_socket_t s = CURL_SOCKET_BAD;
    curl_easy_getinfo(c, CURLINFO_ACTIVESOCKET, &s);
    return s;
}
static inline long chat_curl_status(CURL *c) {
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    return status;
}
