import CLinux
import Glibc

/// The address on which a program listens: `unix:/path` or `host:port`.
public enum ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// Mode, group and owner control who may connect: nginx runs as another user. nil means the program's own.
    case unix(path: String, mode: UInt32, group: String?, owner: String? = nil)
    case tcp(host: String, port: UInt16)

    /// `sun_path` has 108 bytes with its final zero.
    public static let longestPath = 107

    public init(parsing text: String, mode: UInt32 = 0o660, group: String? = nil, owner: String? = nil) throws {
        guard !text.utf8.contains(where: { $0 < 0x20 }) else {
            throw OperatorError("a listen address may not contain control characters")
        }
        if text.hasPrefix("unix:") {
            let path = try ListenAddress.checked(path: String(text.dropFirst(5)))
            self = .unix(path: path, mode: mode, group: group, owner: owner)
        } else {
            self = try ListenAddress.hostAndPort(text)
        }
    }

    public var description: String {
        switch self {
        case .unix(let path, _, _, _): "unix:\(path)"
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }

    /// Whether the address belongs to this machine, regardless of the port; true for a file.
    public var isOfThisMachine: Bool {
        guard case .tcp(let host, _) = self else { return true }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, "0", &hints, &list) == 0 else { return false }
        defer { freeaddrinfo(list) }
        for entry in sequence(first: list, next: { $0?.pointee.ai_next }) {
            guard let entry = entry?.pointee else { break }
            let socket = Glibc.socket(entry.ai_family, entry.ai_socktype, 0)
            defer { close(socket) }
            if bind(socket, entry.ai_addr, entry.ai_addrlen) == 0 { return true }
        }
        return false
    }

    private static func isOfHost(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: ".-_:%".utf8.contains(byte)
        }
    }

    static func checked(path: String) throws -> String {
        guard path.hasPrefix("/") else {
            throw OperatorError(
                "the socket path \"\(path)\" must be absolute: write unix:/run/chat/\(path)")
        }
        let name =
            path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).last ?? path.utf8[...]
        guard !name.isEmpty, !name.elementsEqual(".".utf8), !name.elementsEqual("..".utf8) else {
            throw OperatorError("\"\(path)\" is a folder, and no path of a socket")
        }
        guard path.utf8.count <= longestPath else {
            let size = path.utf8.count
            throw OperatorError(
                "the socket path \(path) has \(size) bytes, at most \(longestPath) work: use a shorter folder"
            )
        }
        return path
    }

    private static func hostAndPort(_ text: String) throws -> ListenAddress {
        guard let colon = text.lastIndex(of: ":"), case let digits = text[text.index(after: colon)...],
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits), port > 0
        else {
            throw OperatorError("\"\(text)\" is not a listen address: write unix:/path or host:port")
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard host == "*" || host.utf8.allSatisfy(isOfHost) else {
            throw OperatorError("\"\(text)\" is not a listen address: write unix:/path or host:port")
        }
        return .tcp(host: host.isEmpty || host == "*" ? "0.0.0.0" : host, port: port)
    }
}

/// Calls `body` with the address of a unix socket; the path must be short enough, see `ListenAddress.checked`.
func withUnixAddress<Result>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result)
    -> Result
{
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8.prefix(ListenAddress.longestPath))
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    // An abstract name (systemd's "@…") has no terminating zero.
    if bytes.first == UInt8(ascii: "@") {
        withUnsafeMutableBytes(of: &address.sun_path) { $0[0] = 0 }
    }
    let length = socklen_t(
        MemoryLayout<sa_family_t>.size + bytes.count + (bytes.first == UInt8(ascii: "@") ? 0 : 1))
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
}
