import CHiredis
import Glibc

/// What Redis, or the way to it, said.
public struct RedisError: Error, CustomStringConvertible, Sendable {
    public let description: String
    /// The connection is of no use any more (as opposed to one command that Redis refused).
    public let isConnection: Bool
}

public enum RedisValue: Sendable, Equatable {
    case null
    case int(Int64)
    case bytes([UInt8])
    case status(String)
    case array([RedisValue])
    /// Redis refused this command.
    case error(String)

    public var bytes: [UInt8]? {
        guard case .bytes(let value) = self else { return nil }
        return value
    }

    public var array: [RedisValue]? {
        guard case .array(let value) = self else { return nil }
        return value
    }
}

/// A word of a command.
public typealias RedisWord = [UInt8]

extension [UInt8] {
    public init(word: String) { self = Array(word.utf8) }
}

/// One connection for one thread. Connects when first used and again after it broke; every wait has a limit.
public final class RedisConnection {
    private let address: RedisAddress
    private let timeout: Int
    private var context: UnsafeMutablePointer<redisContext>?

    /// - Parameters:
    ///   - url: `unix:///path` (with `?db=N`), or `redis://[:password@]host[:port][/db]`.
    ///   - timeout: milliseconds for connecting, and for each answer.
    public init(url: String, timeout: Int = 3000) throws(RedisError) {
        address = try RedisAddress(url)
        self.timeout = timeout
    }

    deinit { close() }

    public func close() {
        if let context { redisFree(context) }
        context = nil
    }

    @discardableResult
    public func command(_ words: [RedisWord]) throws(RedisError) -> RedisValue {
        let value = try pipeline([words])[0]
        if case .error(let text) = value { throw RedisError(description: "Redis: \(text)", isConnection: false) }
        return value
    }

    /// Sends all commands, then reads all answers. A command that Redis refuses gives `.error` in its place.
    public func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue] {
        let context = try connected()
        for words in commands { append(words, to: context) }
        var values: [RedisValue] = []
        values.reserveCapacity(commands.count)
        for _ in commands {
            var reply: UnsafeMutableRawPointer?
            guard redisGetReply(context, &reply) == REDIS_OK, let reply else {
                let error = failure(context)
                close()
                throw error
            }
            values.append(RedisValue(reply.assumingMemoryBound(to: redisReply.self)))
            freeReplyObject(reply)
        }
        return values
    }

    private func connected() throws(RedisError) -> UnsafeMutablePointer<redisContext> {
        if let context { return context }
        let opened = try address.open(timeout: timeout)
        context = opened
        for words in address.greeting { try command(words) }
        return opened
    }
}

/// A connection that listens to channels, for an event loop: it never waits (but for the connect itself, bounded).
public final class RedisSubscription {
    public enum Event: Sendable {
        case message(channel: String, payload: [UInt8])
        case subscribed(channel: String)
        case unsubscribed(channel: String)
        /// Redis answered a ping: it lives, and everything sent before has been carried out.
        case pong
    }

    private let address: RedisAddress
    private var context: UnsafeMutablePointer<redisContext>?

    public init(url: String) throws(RedisError) { address = try RedisAddress(url) }

    deinit { close() }

    /// -1 while not connected.
    public var fileDescriptor: Int32 { context?.pointee.fd ?? -1 }
    /// Bytes wait to be written: call ``flush()`` when the descriptor takes them.
    public private(set) var wantsWrite = false

    /// - Parameter timeout: milliseconds that connecting may take.
    public func connect(timeout: Int) throws(RedisError) {
        close()
        let opened = try address.open(timeout: timeout)
        _ = fcntlNonBlocking(opened.pointee.fd)
        opened.pointee.flags &= ~REDIS_BLOCK
        context = opened
        for words in address.greeting { send(words) }
    }

    public func close() {
        if let context { redisFree(context) }
        context = nil
        wantsWrite = false
    }

    public func subscribe(_ channels: [String]) { send(["SUBSCRIBE"] + channels) }
    public func unsubscribe(_ channels: [String]) { send(["UNSUBSCRIBE"] + channels) }
    public func ping() { send(["PING"]) }

    private func send(_ words: [String]) { send(words.map { RedisWord(word: $0) }) }

    private func send(_ words: [RedisWord]) {
        guard let context else { return }
        append(words, to: context)
        wantsWrite = true
    }

    /// Writes what the socket takes.
    public func flush() throws(RedisError) {
        guard let context else { return }
        var done: Int32 = 0
        guard redisBufferWrite(context, &done) == REDIS_OK else {
            let error = failure(context)
            close()
            throw error
        }
        wantsWrite = done == 0
    }

    /// Reads what has arrived (up to 16 KiB a call) and hands each event over.
    ///
    /// - Returns: false when nothing was there.
    public func readAvailable(_ handle: (Event) -> Void) throws(RedisError) -> Bool {
        guard let context else { return false }
        var some = false
        guard redisBufferRead(context) == REDIS_OK else {
            let error = failure(context)
            close()
            throw error
        }
        while true {
            var reply: UnsafeMutableRawPointer?
            guard redisGetReplyFromReader(context, &reply) == REDIS_OK else {
                let error = failure(context)
                close()
                throw error
            }
            guard let reply else { return some }
            some = true
            defer { freeReplyObject(reply) }
            if let event = Event(reply.assumingMemoryBound(to: redisReply.self)) { handle(event) }
        }
    }
}

extension RedisSubscription.Event {
    fileprivate init?(_ reply: UnsafeMutablePointer<redisReply>) {
        let reply = reply.pointee
        guard reply.type == REDIS_REPLY_ARRAY, reply.elements >= 2, let kind = reply.element[0],
            let channel = reply.element[1]
        else {
            return nil
        }
        switch text(kind) {
        case "message" where reply.elements == 3:
            guard let payload = reply.element[2] else { return nil }
            self = .message(channel: text(channel), payload: payload.pointee.copiedBytes)
        case "subscribe": self = .subscribed(channel: text(channel))
        case "unsubscribe": self = .unsubscribed(channel: text(channel))
        case "pong": self = .pong
        default: return nil
        }
    }
}

/// Where Redis is.
struct RedisAddress {
    private var path: String?
    private var host = "127.0.0.1"
    private var port = 6379
    private var password: String?
    private var database = 0

    init(_ url: String) throws(RedisError) {
        let wrong = RedisError(
            description: "REDIS_URL is not of the form redis://[:password@]host[:port][/db] or unix:///path",
            isConnection: false)
        if url.hasPrefix("unix://") {
            let parts = url.dropFirst("unix://".count).split(separator: "?", maxSplits: 1)
            guard let first = parts.first else { throw wrong }
            path = String(first)
            if parts.count == 2 {
                guard parts[1].hasPrefix("db="), let number = Int(parts[1].dropFirst(3)) else { throw wrong }
                database = number
            }
            return
        }
        guard url.hasPrefix("redis://") else { throw wrong }
        var rest = url.dropFirst("redis://".count)
        if let at = rest.lastIndex(of: "@") {
            password = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).last.map(
                String.init)
            rest = rest[rest.index(after: at)...]
        }
        if let slash = rest.firstIndex(of: "/") {
            let number = rest[rest.index(after: slash)...]
            guard number.isEmpty || Int(number) != nil else { throw wrong }
            database = Int(number) ?? 0
            rest = rest[..<slash]
        }
        if let colon = rest.lastIndex(of: ":") {
            guard let number = Int(rest[rest.index(after: colon)...]) else { throw wrong }
            port = number
            rest = rest[..<colon]
        }
        if !rest.isEmpty { host = String(rest) }
    }

    /// What a new connection says first.
    var greeting: [[RedisWord]] {
        var commands: [[RedisWord]] = []
        if let password { commands.append([RedisWord(word: "AUTH"), RedisWord(word: password)]) }
        if database != 0 { commands.append([RedisWord(word: "SELECT"), RedisWord(word: "\(database)")]) }
        return commands
    }

    func open(timeout: Int) throws(RedisError) -> UnsafeMutablePointer<redisContext> {
        let limit = timeval(tv_sec: timeout / 1000, tv_usec: timeout % 1000 * 1000)
        let opened =
            path.map { redisConnectUnixWithTimeout($0, limit) }
            ?? redisConnectWithTimeout(host, Int32(port), limit)
        guard let opened else { throw RedisError(description: "Redis: no memory", isConnection: true) }
        guard opened.pointee.err == 0 else {
            let error = failure(opened)
            redisFree(opened)
            throw error
        }
        redisSetTimeout(opened, limit)
        return opened
    }
}

private func append(_ words: [RedisWord], to context: UnsafeMutablePointer<redisContext>) {
    var flat: [UInt8] = []
    var lengths: [Int] = []
    for word in words {
        flat.append(contentsOf: word)
        lengths.append(word.count)
    }
    flat.append(0)
    flat.withUnsafeBytes { buffer in
        var offset = 0
        var pointers = lengths.map { length in
            defer { offset += length }
            return Optional(buffer.baseAddress!.advanced(by: offset).assumingMemoryBound(to: CChar.self))
        }
        _ = redisAppendCommandArgv(context, Int32(words.count), &pointers, lengths)
    }
}

private func failure(_ context: UnsafeMutablePointer<redisContext>) -> RedisError {
    let text = withUnsafeBytes(of: context.pointee.errstr) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    return RedisError(description: "Redis: \(text.isEmpty ? "the connection is lost" : text)", isConnection: true)
}

private func text(_ reply: UnsafeMutablePointer<redisReply>) -> String {
    guard let start = reply.pointee.str else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: start, count: Int(reply.pointee.len)), as: UTF8.self)
}

extension redisReply {
    fileprivate var copiedBytes: [UInt8] {
        guard let str else { return [] }
        return Array(UnsafeRawBufferPointer(start: str, count: Int(len)))
    }
}

extension RedisValue {
    fileprivate init(_ reply: UnsafeMutablePointer<redisReply>) {
        switch reply.pointee.type {
        case REDIS_REPLY_STRING: self = .bytes(reply.pointee.copiedBytes)
        case REDIS_REPLY_STATUS: self = .status(text(reply))
        case REDIS_REPLY_ERROR: self = .error(text(reply))
        case REDIS_REPLY_INTEGER: self = .int(reply.pointee.integer)
        case REDIS_REPLY_ARRAY:
            self = .array((0..<Int(reply.pointee.elements)).map { RedisValue(reply.pointee.element[$0]!) })
        default: self = .null
        }
    }
}

private func fcntlNonBlocking(_ descriptor: Int32) -> Int32 {
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
}
