#pragma once
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <amqp_framing.h>

// Macros with casts, which Swift does not import.
static const amqp_method_number_t chat_amqp_basic_ack = AMQP_BASIC_ACK_METHOD;
static const amqp_method_number_t chat_amqp_basic_nack = AMQP_BASIC_NACK_METHOD;
static const amqp_method_number_t chat_amqp_basic_return = AMQP_BASIC_RETURN_METHOD;
static const amqp_method_number_t chat_amqp_basic_cancel = AMQP_BASIC_CANCEL_METHOD;
static const amqp_method_number_t chat_amqp_channel_close = AMQP_CHANNEL_CLOSE_METHOD;
static const amqp_method_number_t chat_amqp_channel_close_ok = AMQP_CHANNEL_CLOSE_OK_METHOD;
static const amqp_method_number_t chat_amqp_connection_close = AMQP_CONNECTION_CLOSE_METHOD;

// amqp_login is variadic, which Swift cannot call.
static inline amqp_rpc_reply_t chat_amqp_login_plain(
    amqp_connection_state_t state, const char *vhost, int channel_max, int frame_max, int heartbeat,
    const char *user, const char *password) {
    return amqp_login(state, vhost, channel_max, frame_max, heartbeat, AMQP_SASL_METHOD_PLAIN, user, password);
}
