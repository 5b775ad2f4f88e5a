/// `scheme://[user[:password]@]host[:port][,host[:port]…][/path][?name=value&…]`: a server, or several equivalent ones.
/// Every part except the scheme may be percent-encoded; an IPv6 address is in brackets.
public struct ServerURL: Sendable {
    public struct Host: Sendable, Hashable, CustomStringConvertible {
        public var name: String
        public var port: Int

        public init(_ name: String, _ port: Int) { (self.name, self.port) = (name, port) }

        public var description: String {
            name.utf8.contains(UInt8(ascii: ":")) ? "[\(name)]:\(port)" : "\(name):\(port)"
        }
    }

    /// Never contains a part of the URL that may be secret.
    public struct Problem: Error, CustomStringConvertible {
        public let description: String
        public init(_ description: String) { self.description = description }
    }

    public private(set) var scheme: String
    public private(set) var user: String?
    public private(set) var password: String?
    /// At least one.
    public private(set) var hosts: [Host] = []
    /// The text after the slash; nil without a slash.
    public private(set) var path: String?
    private var query: [(name: String, value: String)] = []

    /// - Parameter ports: the default port of each accepted scheme.
    public init(_ text: String, ports: [String: Int]) throws(Problem) {
        let bytes = Array(text.utf8)
        let known = ports.keys.sorted().map { "\($0)://" }.joined(separator: " or ")
        guard let mark = bytes.firstRange(of: Array("://".utf8)),
            let port = ports[String(decoding: bytes[..<mark.lowerBound], as: UTF8.self).lowercased()]
        else { throw Problem("it does not begin with \(known)") }
        scheme = String(decoding: bytes[..<mark.lowerBound], as: UTF8.self).lowercased()
        var rest = bytes[mark.upperBound...]
        // Many settings files contain passwords with unencoded characters: the last @ ends the password.
        if let at = rest.lastIndex(of: UInt8(ascii: "@")) {
            let parts = rest[..<at].split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            user = try Self.decode(parts[0], "the user's name")
            if parts.count == 2 { password = try Self.decode(parts[1], "the password") }
            rest = rest[(at + 1)...]
        }
        if let mark = rest.firstIndex(of: UInt8(ascii: "?")) {
            for pair in rest[(mark + 1)...].split(separator: UInt8(ascii: "&")) {
                let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
                let name = try Self.decode(parts[0], "the part after the ?")
                query.append((name, parts.count == 2 ? try Self.decode(parts[1], name) : ""))
            }
            rest = rest[..<mark]
        }
        if let slash = rest.firstIndex(of: UInt8(ascii: "/")) {
            path = try Self.decode(rest[(slash + 1)...], "the part after the host")
            rest = rest[..<slash]
        }
        for part in rest.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            hosts.append(try Self.host(part, port))
        }
        if hosts.isEmpty { hosts = [Host("127.0.0.1", port)] }
    }

    /// The value of `name` in the query.
    public subscript(name: String) -> String? { query.last { $0.name == name }?.value }

    /// Refuses unknown names in the query.
    public func expectOnly(_ names: Set<String>) throws(Problem) {
        for (name, _) in query where !names.contains(name) {
            throw Problem("\(name) is not allowed after the ?, only \(names.sorted().joined(separator: ", "))")
        }
    }

    private static func host(_ part: ArraySlice<UInt8>, _ usual: Int) throws(Problem) -> Host {
        var name = part
        var port: ArraySlice<UInt8>?
        if part.first == UInt8(ascii: "[") {
            guard let end = part.firstIndex(of: UInt8(ascii: "]")) else { throw Problem("a [ is not closed by a ]") }
            name = part[(part.startIndex + 1)..<end]
            let behind = part[(end + 1)...]
            guard behind.isEmpty || behind.first == UInt8(ascii: ":") else {
                throw Problem("a port follows the ] after a colon")
            }
            if !behind.isEmpty { port = behind.dropFirst() }
        } else if let colon = part.lastIndex(of: UInt8(ascii: ":")) {
            name = part[..<colon]
            port = part[(colon + 1)...]
            guard !name.contains(UInt8(ascii: ":")) else { throw Problem("an IPv6 address needs brackets: [::1]") }
        }
        let text = name.isEmpty ? "127.0.0.1" : try decode(name, "the host")
        guard text.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "]") }) else {
            throw Problem("the host name contains an invalid character")
        }
        guard let port else { return Host(text, usual) }
        // Digits only: `Int` would accept a sign too.
        guard port.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(String(decoding: port, as: UTF8.self)),
            (1...65_535).contains(number)
        else {
            throw Problem("the port of \(text) is not a number from 1 to 65535")
        }
        return Host(text, number)
    }

    private static func decode(_ bytes: ArraySlice<UInt8>, _ what: String) throws(Problem) -> String {
        var decoded: [UInt8] = []
        var rest = bytes
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                decoded.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16),
                rest.first != UInt8(ascii: "+")
            else {
                throw Problem("a % in \(what) is not followed by two hexadecimal digits: a % itself is written %25")
            }
            decoded.append(value)
            rest = rest.dropFirst(2)
        }
        guard !decoded.contains(0), let text = String(validating: decoded, as: UTF8.self) else {
            throw Problem("\(what) is not text in UTF-8")
        }
        return text
    }
}

/// PEM files for TLS; nil: the system's authorities only, and no client certificate.
public struct TLSFiles: Sendable, Equatable {
    public var authorities: String?
    public var certificate: String?
    public var key: String?

    public init(authorities: String? = nil, certificate: String? = nil, key: String? = nil) {
        (self.authorities, self.certificate, self.key) = (authorities, certificate, key)
    }
}
