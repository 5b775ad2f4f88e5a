/// The format of a pool's access log: text with `%` codes, most of them php-fpm's.
///
///     %R address of the client · %u user · %t time (UTC) · %m method · %r path, without the query · %s status
///     %b bytes of the answer · %d seconds, %{ms}d milliseconds · %w, %{ms}w the same of the wait for a worker
///     %n pool · %p process · %i request id · %% a percent sign
public struct AccessFormat: Sendable, Equatable {
    public enum Part: Sendable, Equatable {
        case text(String)
        case address, user, time, method, path, status, bytes, seconds, milliseconds, waited, waitedMilliseconds
        case pool, process, request
    }

    public let text: String
    public let parts: [Part]

    private static let codes: [UInt8: Part] = [
        UInt8(ascii: "R"): .address, UInt8(ascii: "u"): .user, UInt8(ascii: "t"): .time, UInt8(ascii: "m"): .method,
        UInt8(ascii: "r"): .path, UInt8(ascii: "s"): .status, UInt8(ascii: "b"): .bytes, UInt8(ascii: "d"): .seconds,
        UInt8(ascii: "w"): .waited, UInt8(ascii: "n"): .pool, UInt8(ascii: "p"): .process, UInt8(ascii: "i"): .request,
    ]

    init(_ text: String) throws(PoolSettings.Problem) {
        self.text = text
        var (parts, plain): ([Part], [UInt8]) = ([], [])
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                plain.append(byte)
                continue
            }
            let inMilliseconds = rest.starts(with: "{ms}".utf8)
            if inMilliseconds { rest = rest.dropFirst(4) }
            guard let code = rest.popFirst() else {
                throw PoolSettings.Problem(text: "it ends in the middle of a % code")
            }
            if code == byte, !inMilliseconds {
                plain.append(byte)
                continue
            }
            guard var part = Self.codes[code] else {
                throw PoolSettings.Problem(text: "it has no code %\(String(decoding: [code], as: UTF8.self))")
            }
            if inMilliseconds {
                guard part == .seconds || part == .waited else {
                    throw PoolSettings.Problem(text: "{ms} is only for %{ms}d and %{ms}w")
                }
                part = part == .seconds ? .milliseconds : .waitedMilliseconds
            }
            if !plain.isEmpty { parts.append(.text(String(decoding: plain, as: UTF8.self))) }
            plain = []
            parts.append(part)
        }
        if !plain.isEmpty { parts.append(.text(String(decoding: plain, as: UTF8.self))) }
        self.parts = parts
    }

    /// The format of a pool that was read: it was valid then.
    public init(of pool: PoolSettings) {
        self = (try? AccessFormat(pool.accessFormat)) ?? AccessFormat(text: "", parts: [])
    }

    private init(text: String, parts: [Part]) { (self.text, self.parts) = (text, parts) }
}
