import CRabbitMQ
import Glibc

/// What the broker, or the way to it, said. Never holds the password of the URL.
public struct RabbitMQError: Error, CustomStringConvertible, Sendable {
    public let description: String

    init(_ what: String, _ status: Int32) {
        description = "RabbitMQ: \(what): \(String(cString: amqp_error_string2(status)))"
    }

    init(_ text: String) { description = "RabbitMQ: \(text)" }

    public init(ended what: String) { self.init("ended: \(what)") }
}

/// One message that the broker delivered.
public struct RabbitMQDelivery: Sendable {
    public var tag: UInt64
    public var consumer: String
    public var redelivered: Bool
    public var body: [UInt8]
    public var replyTo: String
    public var correlation: String
}

public enum RabbitMQEvent: Sendable {
    case delivery(RabbitMQDelivery)
    /// A publisher confirm: everything up to `tag` when `multiple`. `accepted` is false when the queue was full.
    case confirm(tag: UInt64, multiple: Bool, accepted: Bool)
    /// A mandatory message found no queue; its confirm follows, and does not mean that it is safe.
    case returned
    /// The broker ended a consumer of ours (its queue was deleted or its leader moved).
    case cancelled(consumer: String)
    case timeout
}

/// One connection with one channel, for one thread. After any error it is of no use: close it and make another.
///
/// Every wait has a limit: calls by `rpcTimeout`, sends by the heartbeat (a broker that does not read for two
/// heartbeats breaks the connection).
public final class RabbitMQConnection {
    private static let heartbeatSeconds: Int32 = 10
    private let state: amqp_connection_state_t
    private let channel: amqp_channel_t = 1
    /// The number that the next publish gets when confirms are on.
    public private(set) var nextPublishTag: UInt64 = 1

    public init(url: String, name: String) throws(RabbitMQError) {
        let address = try RabbitMQAddress(url)
        guard let state = amqp_new_connection() else { throw RabbitMQError("no memory") }
        self.state = state
        var handshake = timeval(tv_sec: 5, tv_usec: 0)
        amqp_set_handshake_timeout(state, &handshake)
        amqp_set_rpc_timeout(state, &handshake)
        guard let socket = amqp_tcp_socket_new(state) else { throw RabbitMQError("no memory") }
        var limit = timeval(tv_sec: 3, tv_usec: 0)
        let opened = amqp_socket_open_noblock(socket, address.host, Int32(address.port), &limit)
        guard opened == AMQP_STATUS_OK.rawValue else {
            throw RabbitMQError("\(address.host):\(address.port) cannot be reached", opened)
        }
        try Self.check(
            chat_amqp_login_plain(
                state, address.vhost, 0, 131_072, Self.heartbeatSeconds, address.user, address.password),
            "login to \(address.host):\(address.port)")
        amqp_channel_open(state, channel)
        try check("open a channel")
    }

    deinit { amqp_destroy_connection(state) }

    public var fileDescriptor: Int32 { amqp_get_sockfd(state) }

    /// Whether ``next(timeout:)`` would answer without reading from the socket.
    public var hasBuffered: Bool { amqp_frames_enqueued(state) != 0 || amqp_data_in_buffer(state) != 0 }

    // MARK: Queues

    /// Declares a durable command queue: one active consumer, bounded, full means the publisher is told no.
    ///
    /// - Returns: how many messages are ready in it, and how many consumers it has.
    @discardableResult
    public func declareCommandQueue(
        _ name: String, quorum: Bool, maxLength: Int
    ) throws(RabbitMQError) -> (ready: Int, consumers: Int) {
        try withTable([
            ("x-single-active-consumer", .bool(true)), ("x-queue-type", .text(quorum ? "quorum" : "classic")),
            ("x-max-length", .int(Int64(maxLength))), ("x-overflow", .text("reject-publish")),
        ]) { (table) throws(RabbitMQError) in
            try declare(name, table)
        }
    }

    /// Declares a durable queue whose consumers share its messages.
    ///
    /// - Parameter maxLength: beyond it the oldest messages are dropped; nil: it is not bounded.
    /// - Returns: how many messages are ready in it.
    public func declareQueue(_ name: String, quorum: Bool, maxLength: Int? = nil) throws(RabbitMQError) -> Int {
        let limit = maxLength.map { [("x-max-length", TableValue.int(Int64($0))), ("x-overflow", .text("drop-head"))] }
        return try withTable([("x-queue-type", .text(quorum ? "quorum" : "classic"))] + (limit ?? [])) {
            (table) throws(RabbitMQError) in try declare(name, table).ready
        }
    }

    /// Deletes a queue with everything in it.
    public func deleteQueue(_ name: String) throws(RabbitMQError) {
        try withBytes(name) { (name) throws(RabbitMQError) in
            _ = amqp_queue_delete(state, channel, name, 0, 0)
            try check("delete a queue")
        }
    }

    /// Declares a durable exchange that hands a message to the queue that its routing key names, if that is bound.
    public func declareExchange(_ name: String) throws(RabbitMQError) {
        try withBytes(name) { (name) throws(RabbitMQError) in
            try withBytes("direct") { (type) throws(RabbitMQError) in
                _ = amqp_exchange_declare(state, channel, name, type, 0, 1, 0, 0, amqp_empty_table)
                try check("declare an exchange")
            }
        }
    }

    public func bind(_ queue: String, to exchange: String) throws(RabbitMQError) {
        try withBytes(queue) { (queue) throws(RabbitMQError) in
            try withBytes(exchange) { (exchange) throws(RabbitMQError) in
                _ = amqp_queue_bind(state, channel, queue, exchange, queue, amqp_empty_table)
                try check("bind a queue")
            }
        }
    }

    /// Does nothing where it is not bound.
    public func unbind(_ queue: String, from exchange: String) throws(RabbitMQError) {
        try withBytes(queue) { (queue) throws(RabbitMQError) in
            try withBytes(exchange) { (exchange) throws(RabbitMQError) in
                _ = amqp_queue_unbind(state, channel, queue, exchange, queue, amqp_empty_table)
                try check("unbind a queue")
            }
        }
    }

    private func declare(
        _ name: String, _ arguments: amqp_table_t
    ) throws(RabbitMQError) -> (ready: Int, consumers: Int) {
        try withBytes(name) { (name) throws(RabbitMQError) in
            let answer = amqp_queue_declare(state, channel, name, 0, 1, 0, 0, arguments)
            try check("declare a queue")
            return (Int(answer?.pointee.message_count ?? 0), Int(answer?.pointee.consumer_count ?? 0))
        }
    }

    /// Takes deliveries of a queue; at most `prefetch` of them unacknowledged.
    public func consume(_ queue: String, prefetch: Int, noAcknowledge: Bool = false) throws(RabbitMQError) {
        amqp_basic_qos(state, channel, 0, UInt16(clamping: prefetch), 0)
        try check("set the prefetch")
        try withBytes(queue) { (name) throws(RabbitMQError) in
            // The consumer's tag is the queue's name, so that a delivery says where it comes from.
            _ = amqp_basic_consume(state, channel, name, name, 0, noAcknowledge ? 1 : 0, 0, amqp_empty_table)
            try check("consume \(queue)")
        }
    }

    public func cancel(consumer: String) throws(RabbitMQError) {
        try withBytes(consumer) { (tag) throws(RabbitMQError) in
            _ = amqp_basic_cancel(state, channel, tag)
            try check("cancel \(consumer)")
        }
    }

    public func acknowledge(_ tag: UInt64, multiple: Bool = false) throws(RabbitMQError) {
        let status = amqp_basic_ack(state, channel, tag, multiple ? 1 : 0)
        guard status == 0 else { throw RabbitMQError("acknowledge", status) }
    }

    // MARK: Publishing

    public func selectConfirms() throws(RabbitMQError) {
        amqp_confirm_select(state, channel)
        try check("turn confirms on")
    }

    /// Publishes to a queue by its name: through an exchange that it is bound to, or past all (the default exchange).
    ///
    /// - Parameters:
    ///   - mandatory: without a queue the message comes back (``RabbitMQEvent/returned``) instead of vanishing.
    ///   - persistent: survives a restart of the broker.
    /// - Returns: the number by which its confirm will be known.
    @discardableResult
    public func publish(
        _ body: [UInt8], to queue: String, exchange: String = "", mandatory: Bool, persistent: Bool,
        replyTo: String? = nil, correlation: String? = nil
    ) throws(RabbitMQError) -> UInt64 {
        var properties = amqp_basic_properties_t()
        properties._flags = UInt32(AMQP_BASIC_DELIVERY_MODE_FLAG)
        properties.delivery_mode = persistent ? 2 : 1
        if replyTo != nil { properties._flags |= UInt32(AMQP_BASIC_REPLY_TO_FLAG) }
        if correlation != nil { properties._flags |= UInt32(AMQP_BASIC_CORRELATION_ID_FLAG) }
        let status = withBytes(exchange) { exchange in
            withBytes(queue) { queue in
                withBytes(replyTo ?? "") { replyTo in
                    withBytes(correlation ?? "") { correlation in
                        body.withUnsafeBytes { body in
                            properties.reply_to = replyTo
                            properties.correlation_id = correlation
                            let bytes = UnsafeMutableRawPointer(mutating: body.baseAddress)
                            return amqp_basic_publish(
                                state, channel, exchange, queue, mandatory ? 1 : 0, 0, &properties,
                                amqp_bytes_t(len: body.count, bytes: bytes))
                        }
                    }
                }
            }
        }
        guard status == 0 else { throw RabbitMQError("publish", status) }
        defer { nextPublishTag += 1 }
        return nextPublishTag
    }

    // MARK: Receiving

    /// Waits for whatever comes first, at most `timeout` milliseconds. Also what answers the broker's heartbeats: call
    /// it at least every few seconds.
    public func next(timeout milliseconds: Int) throws(RabbitMQError) -> RabbitMQEvent {
        var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        var envelope = amqp_envelope_t()
        amqp_maybe_release_buffers(state)
        let reply = amqp_consume_message(state, &envelope, &limit, 0)
        if reply.reply_type == AMQP_RESPONSE_NORMAL {
            defer { amqp_destroy_envelope(&envelope) }
            return .delivery(RabbitMQDelivery(envelope))
        }
        if reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION {
            if reply.library_error == AMQP_STATUS_TIMEOUT.rawValue { return .timeout }
            if reply.library_error == AMQP_STATUS_UNEXPECTED_STATE.rawValue { return try otherFrame() }
        }
        try Self.check(reply, "receive")
        return .timeout
    }

    /// What is no delivery: rabbitmq-c leaves such a frame for us to take.
    private func otherFrame() throws(RabbitMQError) -> RabbitMQEvent {
        var frame = amqp_frame_t()
        var none = timeval(tv_sec: 0, tv_usec: 0)
        let status = amqp_simple_wait_frame_noblock(state, &frame, &none)
        if status == AMQP_STATUS_TIMEOUT.rawValue { return .timeout }
        guard status == AMQP_STATUS_OK.rawValue else { throw RabbitMQError("receive", status) }
        guard frame.frame_type == UInt8(AMQP_FRAME_METHOD) else { return .timeout }
        let method = frame.payload.method
        switch method.id {
        case 0x003C_0050:  // basic.ack
            let ack = method.decoded.assumingMemoryBound(to: amqp_basic_ack_t.self).pointee
            return .confirm(tag: ack.delivery_tag, multiple: ack.multiple != 0, accepted: true)
        case 0x003C_0078:  // basic.nack
            let nack = method.decoded.assumingMemoryBound(to: amqp_basic_nack_t.self).pointee
            return .confirm(tag: nack.delivery_tag, multiple: nack.multiple != 0, accepted: false)
        case 0x003C_0032:  // basic.return
            var message = amqp_message_t()
            try Self.check(amqp_read_message(state, frame.channel, &message, 0), "read a returned message")
            amqp_destroy_message(&message)
            return .returned
        case 0x003C_001E:  // basic.cancel
            let cancel = method.decoded.assumingMemoryBound(to: amqp_basic_cancel_t.self).pointee
            return .cancelled(consumer: text(cancel.consumer_tag))
        case 0x0014_0028:  // channel.close
            let close = method.decoded.assumingMemoryBound(to: amqp_channel_close_t.self).pointee
            throw RabbitMQError("the broker closed the channel: \(text(close.reply_text))")
        case 0x000A_0032:  // connection.close
            let close = method.decoded.assumingMemoryBound(to: amqp_connection_close_t.self).pointee
            throw RabbitMQError("the broker closed the connection: \(text(close.reply_text))")
        default: return .timeout
        }
    }

    // MARK: Errors

    private func check(_ what: String) throws(RabbitMQError) { try Self.check(amqp_get_rpc_reply(state), what) }

    private static func check(_ reply: amqp_rpc_reply_t, _ what: String) throws(RabbitMQError) {
        switch reply.reply_type {
        case AMQP_RESPONSE_NORMAL: return
        case AMQP_RESPONSE_LIBRARY_EXCEPTION: throw RabbitMQError(what, reply.library_error)
        case AMQP_RESPONSE_SERVER_EXCEPTION:
            if reply.reply.id == 0x0014_0028 {
                let close = reply.reply.decoded.assumingMemoryBound(to: amqp_channel_close_t.self).pointee
                throw RabbitMQError("\(what): \(text(close.reply_text))")
            }
            if reply.reply.id == 0x000A_0032 {
                let close = reply.reply.decoded.assumingMemoryBound(to: amqp_connection_close_t.self).pointee
                throw RabbitMQError("\(what): \(text(close.reply_text))")
            }
            throw RabbitMQError("\(what): the broker refused")
        default: throw RabbitMQError("\(what): no answer")
        }
    }
}

/// The parts of `amqp://user:password@host:port/vhost`.
struct RabbitMQAddress {
    let host: String
    let port: Int
    let user: String
    let password: String
    let vhost: String

    init(_ url: String) throws(RabbitMQError) {
        var info = amqp_connection_info()
        guard let text = strdup(url) else { throw RabbitMQError("no memory") }
        defer { free(text) }
        guard amqp_parse_url(text, &info) == AMQP_STATUS_OK.rawValue, info.ssl == 0 else {
            throw RabbitMQError("RABBITMQ_URL is not of the form amqp://user:password@host:port/vhost")
        }
        host = String(cString: info.host)
        port = Int(info.port)
        user = String(cString: info.user)
        password = String(cString: info.password)
        // By the letter, a URL that ends in a slash names the vhost ""; everybody means the default one.
        vhost = info.vhost.pointee == 0 ? "/" : String(cString: info.vhost)
    }
}

extension RabbitMQDelivery {
    fileprivate init(_ envelope: amqp_envelope_t) {
        let properties = envelope.message.properties
        let body = envelope.message.body
        self.init(
            tag: envelope.delivery_tag, consumer: text(envelope.consumer_tag), redelivered: envelope.redelivered != 0,
            body: Array(UnsafeRawBufferPointer(start: body.bytes, count: body.len)),
            replyTo: properties._flags & UInt32(AMQP_BASIC_REPLY_TO_FLAG) != 0 ? text(properties.reply_to) : "",
            correlation: properties._flags & UInt32(AMQP_BASIC_CORRELATION_ID_FLAG) != 0
                ? text(properties.correlation_id) : "")
    }
}

// MARK: Bytes and tables of the C library

private func text(_ bytes: amqp_bytes_t) -> String {
    String(decoding: UnsafeRawBufferPointer(start: bytes.bytes, count: bytes.len), as: UTF8.self)
}

/// Lends the text's bytes; they are good inside of `body` only.
private func withBytes<R, E: Error>(_ text: String, _ body: (amqp_bytes_t) throws(E) -> R) throws(E) -> R {
    let bytes = Array(text.utf8)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 1)
    defer { buffer.deallocate() }
    buffer.copyBytes(from: bytes)
    return try body(amqp_bytes_t(len: bytes.count, bytes: buffer.baseAddress))
}

private enum TableValue {
    case bool(Bool)
    case int(Int64)
    case text(String)
}

private func withTable<R>(
    _ entries: [(String, TableValue)], _ body: (amqp_table_t) throws(RabbitMQError) -> R
) throws(RabbitMQError) -> R {
    var owned: [UnsafeMutablePointer<CChar>] = []
    defer { owned.forEach { free($0) } }
    func bytes(_ text: String) -> amqp_bytes_t {
        let copy = strdup(text)!
        owned.append(copy)
        return amqp_bytes_t(len: text.utf8.count, bytes: copy)
    }
    let table = UnsafeMutablePointer<amqp_table_entry_t>.allocate(capacity: max(entries.count, 1))
    defer { table.deallocate() }
    for (index, entry) in entries.enumerated() {
        var value = amqp_field_value_t()
        switch entry.1 {
        case .bool(let flag):
            value.kind = UInt8(ascii: "t")
            value.value.boolean = flag ? 1 : 0
        case .int(let number):
            value.kind = UInt8(ascii: "l")
            value.value.i64 = number
        case .text(let text):
            value.kind = UInt8(ascii: "S")
            value.value.bytes = bytes(text)
        }
        table.advanced(by: index).initialize(to: amqp_table_entry_t(key: bytes(entry.0), value: value))
    }
    return try body(amqp_table_t(num_entries: Int32(entries.count), entries: table))
}
