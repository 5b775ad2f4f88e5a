#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// Macros, which Swift cannot call.
static inline void chat_tls_least_version(SSL_CTX *context) { SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION); }
static inline int chat_tls_name(SSL *tls, const char *name) { return (int)SSL_set_tlsext_host_name(tls, name); }

// The reason why this thread's last handshake refused a certificate: librabbitmq does not expose its own handle.
static _Thread_local long chat_tls_refusal = X509_V_OK;
static inline int chat_tls_noting(int good, X509_STORE_CTX *store) {
    if (!good) chat_tls_refusal = X509_STORE_CTX_get_error(store);
    return good;
}
static inline void chat_tls_verify(SSL_CTX *context) { SSL_CTX_set_verify(context, SSL_VERIFY_PEER, chat_tls_noting); }
static inline long chat_tls_last_refusal(void) { return chat_tls_refusal; }
static inline void chat_tls_forget_refusal(void) { chat_tls_refusal = X509_V_OK; }
