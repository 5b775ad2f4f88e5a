/// The way by which a device gets its pushes.
public enum PushKind: Int16, Sendable, NamedCase {
    case fcm = 1
    case webPush, apns, webhook

    /// The name on the wire.
    public var name: String {
        switch self {
        case .fcm: "fcm"
        case .webPush: "webpush"
        case .apns: "apns"
        case .webhook: "webhook"
        }
    }
}

/// One device of one user. Everything except the id and the kind is secret: it never reaches a log.
public struct PushDevice: Sendable, Equatable {
    public var user: UUID128
    /// The name under which it is registered. FCM: its token.
    public var id: String
    public var kind: PushKind
    /// A token, or the URL of a Web Push subscription.
    public var address: String
    /// Of a Web Push subscription: `p256dh`, an uncompressed point of P-256, and `auth`, 16 bytes.
    public var publicKey: [UInt8]
    public var secret: [UInt8]
    /// Whether it takes pushes that show nothing: those that only remove notifications.
    public var takesSilent: Bool

    public init(
        user: UUID128, id: String, kind: PushKind = .fcm, address: String, publicKey: [UInt8] = [],
        secret: [UInt8] = [], takesSilent: Bool = true
    ) {
        self.user = user
        self.id = id
        self.kind = kind
        self.address = address
        self.publicKey = publicKey
        self.secret = secret
        self.takesSilent = takesSilent
    }
}

/// The URL of a Web Push subscription. A user gives it, so it may lead anywhere.
public struct PushEndpoint: Sendable, Equatable {
    /// Bytes. Those of today's push services have up to 600.
    public static let longest = 2048

    /// The end of a sentence that begins with "Endpoint".
    public struct Problem: Error, Sendable, Equatable {
        public let text: String
    }

    /// `https://host[:port]`: the audience of the key's tokens, and the only part that a log may contain.
    public let origin: String
    public let host: String
    /// Plain HTTP to this machine, for tests.
    public let isLoopback: Bool

    /// - Parameters:
    ///   - hosts: the accepted hosts, in lower case; `*.example.org` are those below it. Empty: every host.
    ///   - allowsLoopback: also `http://127.0.0.1` and `http://localhost`.
    public init(_ text: String, hosts: [String] = [], allowsLoopback: Bool = false) throws(Problem) {
        let bytes = text.utf8
        guard bytes.count <= Self.longest else { throw Problem(text: "has more than \(Self.longest) bytes") }
        guard bytes.allSatisfy({ isURLByte($0) && !"#@".utf8.contains($0) }) else {
            throw Problem(text: "contains a character that no endpoint has")
        }
        let isPlain = bytes.starts(with: "http://".utf8)
        guard isPlain || bytes.starts(with: "https://".utf8) else {
            throw Problem(text: "does not begin with https://")
        }
        let rest = bytes.dropFirst(isPlain ? 7 : 8)
        let authority = rest.prefix { $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "?") }
        let name = authority.prefix { $0 != UInt8(ascii: ":") }
        host = asciiLowercased(Substring(name))
        let port = authority.dropFirst(name.count)
        guard port.isEmpty || isPort(port.dropFirst()) else { throw Problem(text: "has an invalid port") }
        origin = "\(isPlain ? "http" : "https")://\(host)\(Substring(port))"
        isLoopback = isPlain && allowsLoopback && (host == "127.0.0.1" || host == "localhost")
        if isLoopback { return }
        guard !isPlain else { throw Problem(text: "does not begin with https://") }
        guard Self.isPublicName(host) else { throw Problem(text: "has no public host name") }
        guard hosts.isEmpty || hosts.contains(where: { Self.matches(host, $0) }) else {
            throw Problem(text: "is of a push service that is not accepted here")
        }
    }

    /// At least two labels of letters, digits and hyphens. The last one begins with a letter, so it is not an IP
    /// address.
    private static func isPublicName(_ host: String) -> Bool {
        let labels = pieces(of: host, at: UInt8(ascii: "."), omittingEmpty: false)
        let isName = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count)
                && label.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
        }
        return isName && host.utf8.count <= 253 && labels.count > 1
            && (labels.last?.utf8.first.map { (0x61...0x7a).contains($0) } ?? false)
    }

    /// Whether a text is a host, or `*.` and a host.
    static func isHostRule(_ text: String) -> Bool {
        isPublicName(text.utf8.starts(with: "*.".utf8) ? String(Substring(text.utf8.dropFirst(2))) : text)
    }

    private static func matches(_ host: String, _ rule: String) -> Bool {
        guard rule.utf8.starts(with: "*.".utf8) else { return areSameBytes(host, rule) }
        let end = rule.utf8.dropFirst()
        return host.utf8.count > end.count && host.utf8.suffix(end.count).elementsEqual(end)
    }
}
