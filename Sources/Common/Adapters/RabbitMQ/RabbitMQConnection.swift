import CRabbitMQ
public import ChatCore
import Glibc
import Synchronization

/// An error from the broker or from the connection to it. Never contains the URL's password.
public struct RabbitMQError: Error, CustomStringConvertible, Sendable {
    let what: String
    /// The server at fault: work with the broker may depend on PostgreSQL too.
    public private(set) var server = "RabbitMQ"

    public var description: String { server == "RabbitMQ" ? "RabbitMQ: \(what)" : what }

    /// An error of PostgreSQL in work that also needs the broker.
    public init(_ error: StoreError) { (what, server) = (error.description, "PostgreSQL") }

    /// An error of another server in work that also needs the broker.
    public init(_ what: String, server: String) { (self.what, self.server) = (what, server) }

    init(_ what: String, _ status: Int32) { self.what = "\(what): \(String(cString: amqp_error_string2(status)))" }

    init(_ text: String) { what = text }

    public init(ended what: String) { self.init("ended: \(what)") }
}

/// One connection, for one thread: a channel that consumes and publishes, and a second one for answers. After any error
/// close it and open another.
///
/// Every wait has a limit: calls by the rpc timeout, sends by the heartbeat (a broker that reads nothing for two
/// heartbeats breaks the connection), unacknowledged bytes by TCP_USER_TIMEOUT.
public final class RabbitMQConnection {
    private let state: amqp_connection_state_t
    private let channel: amqp_channel_t = 1
    private static let answersChannel: amqp_channel_t = 2
    private var hasAnswersChannel = false
    private var lines = DeliveryLines()
    private let order: HostOrder
    /// The broker at the other end.
    public let host: ServerURL.Host
    private let heart: RabbitMQHeart
    private var probe: HostProbe?
    /// The delivery tag of the next publish when confirms are on.
    public private(set) var nextPublishTag: UInt64 = 1

    /// Tries the hosts of the settings in turn.
    public init(_ settings: RabbitMQSettings, name: String) throws(RabbitMQError) {
        let servers: RabbitMQServers
        do { servers = try RabbitMQServers(settings.url) } catch { throw RabbitMQError("RABBITMQ_URL: \(error)") }
        order = HostOrder.of(servers.all.map(\.host))
        var problems: [String] = []
        for host in order.candidates(now: monotonicMilliseconds()) {
            guard let server = servers.all.first(where: { $0.host == host }) else { continue }
            do throws(RabbitMQError) {
                state = try Self.open(server, settings, timeoutSeconds: servers.all.count > 1 ? 2 : 3)
                order.isGood(host)
                self.host = host
                heart = RabbitMQHeart(every: settings.heartbeat)
                if host != order.preferred { probe = HostProbe(order.preferred) }
                return
            } catch {
                order.failed(host, now: monotonicMilliseconds())
                problems.append(error.what)
            }
        }
        throw RabbitMQError(problems.joined(separator: "; "))
    }

    private static func open(
        _ server: RabbitMQServers.Server, _ settings: RabbitMQSettings, timeoutSeconds: Int
    ) throws(RabbitMQError) -> amqp_connection_state_t {
        guard let state = amqp_new_connection() else { throw RabbitMQError("no memory") }
        do throws(RabbitMQError) {
            var handshake = timeval(tv_sec: 5, tv_usec: 0)
            amqp_set_handshake_timeout(state, &handshake)
            amqp_set_rpc_timeout(state, &handshake)
            let socket = server.isTLS ? try Self.tlsSocket(state, server, settings.tls) : amqp_tcp_socket_new(state)
            guard let socket else { throw RabbitMQError("no memory") }
            var limit = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
            TLSRules.forgetRefusal()
            let opened = amqp_socket_open_noblock(socket, server.host.name, Int32(server.host.port), &limit)
            guard opened == AMQP_STATUS_OK.rawValue else {
                if let refusal = TLSRules.refusal { throw RabbitMQError("\(server.host): \(refusal)") }
                throw RabbitMQError("\(server.host) cannot be reached", opened)
            }
            var unheard = UInt32(clamping: settings.userTimeout.milliseconds)
            setsockopt(
                amqp_get_sockfd(state), Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, &unheard,
                socklen_t(MemoryLayout<UInt32>.size))
            try Self.check(
                chat_amqp_login_plain(
                    state, server.vhost, 0, 131_072, Int32(settings.heartbeat.seconds), server.user, server.password),
                "login to \(server.host)")
            amqp_channel_open(state, 1)
            try Self.check(amqp_get_rpc_reply(state), "open a channel")
            return state
        } catch {
            amqp_destroy_connection(state)
            throw error
        }
    }

    /// librabbitmq's own certificate check does not support IP addresses; OpenSSL's does.
    private static func tlsSocket(
        _ state: amqp_connection_state_t, _ server: RabbitMQServers.Server, _ files: TLSFiles
    ) throws(RabbitMQError) -> OpaquePointer? {
        guard let socket = amqp_ssl_socket_new(state), let context = amqp_ssl_socket_get_context(socket) else {
            return nil
        }
        amqp_ssl_socket_set_verify_hostname(socket, 0)
        amqp_ssl_socket_set_verify_peer(socket, 1)
        do { try TLSRules.apply(files, host: server.host.name, to: OpaquePointer(context)) } catch {
            throw RabbitMQError("\(server.host): \(error)")
        }
        return socket
    }

    deinit {
        heart.stop()
        amqp_destroy_connection(state)
    }

    /// Marks this broker as suspect, since it may be cut off from the cluster: the next connection tries another first.
    public func distrust() { order.failed(host, now: monotonicMilliseconds()) }

    /// Whether the preferred broker is back while this connection leads to another. Call it about once a second; when
    /// it returns true and no work is in progress, connect anew.
    public func shouldMoveBack() -> Bool { probe?.isBack(now: monotonicMilliseconds()) ?? false }

    /// Runs long work that does not use this connection; heartbeats continue meanwhile.
    public func whileAway<R, E: Error>(_ work: () throws(E) -> R) throws(E) -> R {
        heart.beat(for: state)
        defer { heart.rest() }
        return try work()
    }

    public var fileDescriptor: Int32 { amqp_get_sockfd(state) }

    /// Whether ``next(timeout:)`` can return without reading from the socket.
    public var hasBuffered: Bool { amqp_frames_enqueued(state) != 0 || amqp_data_in_buffer(state) != 0 }

    // MARK: Queues

    /// Declares a durable command queue: a single active consumer, a bounded length, and `reject-publish` when it is
    /// full.
    ///
    /// - Returns: the number of ready messages, and of consumers.
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
    /// - Parameter maxLength: above it the oldest messages are dropped; nil: unbounded.
    /// - Returns: the number of ready messages.
    public func declareQueue(_ name: String, quorum: Bool, maxLength: Int? = nil) throws(RabbitMQError) -> Int {
        let limit = maxLength.map { [("x-max-length", TableValue.int(Int64($0))), ("x-overflow", .text("drop-head"))] }
        return try withTable([("x-queue-type", .text(quorum ? "quorum" : "classic"))] + (limit ?? [])) {
            (table) throws(RabbitMQError) in try declare(name, table).ready
        }
    }

    /// The messages and consumers of an existing queue. A missing one ends the connection.
    public func look(at name: String) throws(RabbitMQError) -> (messages: Int, consumers: Int) {
        try withBytes(name) { (name) throws(RabbitMQError) in
            let answer = amqp_queue_declare(state, channel, name, 1, 0, 0, 0, amqp_empty_table)
            try check("look at a queue")
            return (Int(answer?.pointee.message_count ?? 0), Int(answer?.pointee.consumer_count ?? 0))
        }
    }

    /// Deletes a queue and all its messages.
    public func deleteQueue(_ name: String) throws(RabbitMQError) {
        try withBytes(name) { (name) throws(RabbitMQError) in
            _ = amqp_queue_delete(state, channel, name, 0, 0)
            try check("delete a queue")
        }
    }

    /// Declares a durable direct exchange: a message goes to the bound queue that its routing key names.
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

    /// Does nothing when it is not bound.
    public func unbind(_ queue: String, from exchange: String) throws(RabbitMQError) {
        try withBytes(queue) { (queue) throws(RabbitMQError) in
            try withBytes(exchange) { (exchange) throws(RabbitMQError) in
                _ = amqp_queue_unbind(state, channel, queue, exchange, queue, amqp_empty_table)
                try check("unbind a queue")
            }
        }
    }

    /// Declares an exclusive queue of this connection and consumes it without acknowledgements.
    ///
    /// - Returns: its name, chosen by the broker.
    public func consumeAnswers() throws(RabbitMQError) -> String {
        let answer = amqp_queue_declare(state, channel, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table)
        try check("declare a queue for answers")
        guard let answer else { throw RabbitMQError("declare a queue for answers: no answer") }
        let name = text(answer.pointee.queue)
        try consume(name, prefetch: 0, noAcknowledge: true)
        return name
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

    /// Consumes a queue with at most `prefetch` unacknowledged messages.
    public func consume(_ queue: String, prefetch: Int, noAcknowledge: Bool = false) throws(RabbitMQError) {
        try consume(queue, prefetch: prefetch, noAcknowledge: noAcknowledge, on: channel)
    }

    private func consume(
        _ queue: String, prefetch: Int, noAcknowledge: Bool, on channel: amqp_channel_t
    ) throws(RabbitMQError) {
        amqp_basic_qos(state, channel, 0, UInt16(clamping: prefetch), 0)
        try check("set the prefetch")
        try withBytes(queue) { (name) throws(RabbitMQError) in
            // The consumer tag is the queue's name, so a delivery tells its queue.
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

    /// Registers as the last consumer in the line of a queue with a single active consumer, on a channel of its own.
    /// Deliveries of all such queues are numbered together; acknowledge them with `multiple`.
    public func enterLine(_ queue: String, prefetch: Int) throws(RabbitMQError) {
        guard let line = lines.open(queue) else { throw RabbitMQError("consume \(queue): too many channels") }
        amqp_channel_open(state, line)
        try check("open a channel for \(queue)")
        try consume(queue, prefetch: prefetch, noAcknowledge: false, on: line)
    }

    /// Leaves the line: the next consumer becomes the active one and first gets the unacknowledged deliveries of this
    /// one. Cancelling the consumer instead would requeue them behind newer messages.
    public func leaveLine(_ queue: String) throws(RabbitMQError) {
        guard let line = lines.close(queue) else { return }
        try Self.check(amqp_channel_close(state, line, 200), "leave \(queue)")
    }

    public func acknowledge(_ tag: UInt64, multiple: Bool = false) throws(RabbitMQError) {
        guard !lines.isUsed else {
            for (channel, tag) in lines.finish(through: tag) { try acknowledge(tag, multiple: true, on: channel) }
            return
        }
        try acknowledge(tag, multiple: multiple, on: channel)
    }

    private func acknowledge(_ tag: UInt64, multiple: Bool, on channel: amqp_channel_t) throws(RabbitMQError) {
        let status = amqp_basic_ack(state, channel, tag, multiple ? 1 : 0)
        guard status == 0 else { throw RabbitMQError("acknowledge", status) }
    }

    // MARK: Publishing

    public func selectConfirms() throws(RabbitMQError) {
        amqp_confirm_select(state, channel)
        try check("turn confirms on")
    }

    /// Publishes an answer to a queue that may be gone, in which case it is dropped. It is transient and unconfirmed,
    /// on a channel of its own: a failed answer must not close the commands' channel.
    public func answer(_ body: [UInt8], to queue: String, correlation: String) throws(RabbitMQError) {
        if !hasAnswersChannel {
            amqp_channel_open(state, Self.answersChannel)
            try check("open a channel for answers")
            hasAnswersChannel = true
        }
        try send(
            body, on: Self.answersChannel, to: queue, exchange: "", mandatory: false, persistent: false, replyTo: nil,
            correlation: correlation)
    }

    /// Publishes to a queue by name, through an exchange or directly (the default exchange).
    ///
    /// - Parameters:
    ///   - mandatory: without a bound queue the message comes back (``RabbitMQEvent/returned``) instead of being
    ///     dropped.
    ///   - persistent: the message survives a restart of the broker.
    /// - Returns: the delivery tag of its confirm.
    @discardableResult
    public func publish(
        _ body: [UInt8], to queue: String, exchange: String = "", mandatory: Bool, persistent: Bool,
        replyTo: String? = nil, correlation: String? = nil
    ) throws(RabbitMQError) -> UInt64 {
        try send(
            body, on: channel, to: queue, exchange: exchange, mandatory: mandatory, persistent: persistent,
            replyTo: replyTo, correlation: correlation)
        defer { nextPublishTag += 1 }
        return nextPublishTag
    }

    private func send(
        _ body: [UInt8], on channel: amqp_channel_t, to queue: String, exchange: String, mandatory: Bool,
        persistent: Bool, replyTo: String?, correlation: String?
    ) throws(RabbitMQError) {
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
    }

    // MARK: Receiving

    /// Waits at most for `timeout` for the next event. This also answers the broker's heartbeats: call it at
    /// least every few seconds.
    public func next(timeout: Duration) throws(RabbitMQError) -> RabbitMQEvent {
        while true {
            if let event = try receive(timeout: timeout) { return event }
        }
    }

    /// Nil for a delivery of a line that was left: the next consumer gets it.
    private func receive(timeout: Duration) throws(RabbitMQError) -> RabbitMQEvent? {
        let milliseconds = Int(timeout.milliseconds)
        var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        var envelope = amqp_envelope_t()
        amqp_maybe_release_buffers(state)
        let reply = amqp_consume_message(state, &envelope, &limit, 0)
        if reply.reply_type == AMQP_RESPONSE_NORMAL {
            defer { amqp_destroy_envelope(&envelope) }
            guard envelope.channel >= DeliveryLines.first else { return .delivery(RabbitMQDelivery(envelope)) }
            guard let number = lines.number(envelope.delivery_tag, on: envelope.channel) else { return nil }
            var delivery = RabbitMQDelivery(envelope)
            delivery.tag = number
            return .delivery(delivery)
        }
        if reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION {
            if reply.library_error == AMQP_STATUS_TIMEOUT.rawValue { return .timeout }
            if reply.library_error == AMQP_STATUS_UNEXPECTED_STATE.rawValue { return try otherFrame() }
        }
        try Self.check(reply, "receive")
        return .timeout
    }

    /// Reads a frame that is not a delivery; rabbitmq-c leaves those to the caller.
    private func otherFrame() throws(RabbitMQError) -> RabbitMQEvent {
        var frame = amqp_frame_t()
        var none = timeval(tv_sec: 0, tv_usec: 0)
        let status = amqp_simple_wait_frame_noblock(state, &frame, &none)
        if status == AMQP_STATUS_TIMEOUT.rawValue { return .timeout }
        guard status == AMQP_STATUS_OK.rawValue else { throw RabbitMQError("receive", status) }
        guard frame.frame_type == UInt8(AMQP_FRAME_METHOD) else { return .timeout }
        let method = frame.payload.method
        switch method.id {
        case chat_amqp_basic_ack:
            let ack = method.decoded.assumingMemoryBound(to: amqp_basic_ack_t.self).pointee
            return .confirm(tag: ack.delivery_tag, multiple: ack.multiple != 0, accepted: true)
        case chat_amqp_basic_nack:
            let nack = method.decoded.assumingMemoryBound(to: amqp_basic_nack_t.self).pointee
            return .confirm(tag: nack.delivery_tag, multiple: nack.multiple != 0, accepted: false)
        case chat_amqp_basic_return:
            var message = amqp_message_t()
            try Self.check(amqp_read_message(state, frame.channel, &message, 0), "read a returned message")
            amqp_destroy_message(&message)
            return .returned
        case chat_amqp_basic_cancel:
            let cancel = method.decoded.assumingMemoryBound(to: amqp_basic_cancel_t.self).pointee
            return .cancelled(consumer: text(cancel.consumer_tag))
        case chat_amqp_channel_close where frame.channel == Self.answersChannel:
            var closed = amqp_channel_close_ok_t()
            hasAnswersChannel = false
            let status = amqp_send_method(state, Self.answersChannel, chat_amqp_channel_close_ok, &closed)
            guard status == 0 else { throw RabbitMQError("close the channel of answers", status) }
            return .timeout
        default:
            guard let closed = Self.closed(by: method) else { return .timeout }
            throw RabbitMQError("the broker closed the \(closed.what): \(closed.reason)")
        }
    }

    /// The part that a method closes, and the broker's reason. Nil: it closes nothing.
    private static func closed(by method: amqp_method_t) -> (what: String, reason: String)? {
        switch method.id {
        case chat_amqp_channel_close:
            ("channel", text(method.decoded.assumingMemoryBound(to: amqp_channel_close_t.self).pointee.reply_text))
        case chat_amqp_connection_close:
            (
                "connection",
                text(method.decoded.assumingMemoryBound(to: amqp_connection_close_t.self).pointee.reply_text)
            )
        default: nil
        }
    }

    // MARK: Errors

    private func check(_ what: String) throws(RabbitMQError) { try Self.check(amqp_get_rpc_reply(state), what) }

    private static func check(_ reply: amqp_rpc_reply_t, _ what: String) throws(RabbitMQError) {
        switch reply.reply_type {
        case AMQP_RESPONSE_NORMAL: return
        case AMQP_RESPONSE_LIBRARY_EXCEPTION: throw RabbitMQError(what, reply.library_error)
        case AMQP_RESPONSE_SERVER_EXCEPTION:
            throw RabbitMQError("\(what): \(closed(by: reply.reply)?.reason ?? "the broker refused")")
        default: throw RabbitMQError("\(what): no answer")
        }
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

/// Passes the text's bytes to `body`; they are valid only inside it.
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

/// Sends heartbeats for a connection while its owner is busy elsewhere.
private final class RabbitMQHeart: Sendable {
    private struct Work {
        /// Set while the owner does not use the connection. It is an address, because the lock makes the hand-over
        /// safe.
        var state: UInt?
        var hasEnded = false
        var isRunning = false
    }

    private let work = Mutex(Work())
    private let pause: UInt32

    init(every time: Duration) { pause = UInt32(clamping: time.milliseconds * 1000 / 2) }

    func beat(for state: amqp_connection_state_t) {
        let isNew = work.withLock { work in
            work.state = UInt(bitPattern: state)
            defer { work.isRunning = true }
            return !work.isRunning
        }
        if isNew { start() }
    }

    /// Waits for a heartbeat that is being sent.
    func rest() { work.withLock { $0.state = nil } }

    func stop() { work.withLock { ($0.state, $0.hasEnded) = (nil, true) } }

    /// Without the thread there are no heartbeats while the owner is busy: the broker may close the connection.
    private func start() {
        if let thread = startThreadIfPossible({ self.run() }) { pthread_detach(thread) }
    }

    private func run() {
        while true {
            usleep(pause)
            let goesOn = work.withLock { work in
                if let state = work.state.flatMap({ amqp_connection_state_t(bitPattern: $0) }) {
                    var frame = amqp_frame_t()
                    frame.frame_type = UInt8(AMQP_FRAME_HEARTBEAT)
                    // The owner sees a failure at its next call.
                    amqp_send_frame(state, &frame)
                }
                return !work.hasEnded
            }
            if !goesOn { return }
        }
    }
}
