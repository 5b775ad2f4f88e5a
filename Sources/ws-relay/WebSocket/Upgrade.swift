import ChatCore
import Crypto

/// A client's request at `/ws/v1/chat`, once its head is complete: a socket with a token, or a refusal.
struct Upgrade: Equatable, Sendable {
    enum Subprotocol: String, Sendable {
        case msgpack = "chat.msgpack"
        case json = "chat.json"
    }

    static let path = "/ws/v1/chat"
    /// RFC 6455 1.3.
    private static let acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    let key: String
    let subprotocol: Subprotocol
    /// The client's address according to a proxy.
    let forwardedFor: String?
    /// `?move=1`: the client goes to another relay when a frame `move` asks it to.
    let understandsMove: Bool
    /// permessage-deflate was negotiated.
    var isDeflated: Bool { deflateAnswer != nil }
    private let deflateAnswer: String?
    /// The confirmed subprotocol. A browser closes the connection when none of its offers is confirmed. So the offer
    /// with the token is confirmed when it is the only one we know; only its own sender can read it.
    private let confirmed: String?
    enum Credential: Equatable, Sendable {
        case token(String)
        /// From `POST /ws-ticket`, valid once.
        case ticket(String)
    }

    /// A secret: never logged, and dropped after its verification.
    let credential: Credential

    init(_ head: RequestHead, origins: OriginRule, deflates: Bool) throws(HTTPRefusal) {
        do {
            try self.init(reading: head, origins: origins, deflates: deflates)
        } catch let refusal as HTTPRefusal {
            throw refusal
        } catch let malformed as RequestHead.Malformed {
            throw .malformed(malformed.why)
        } catch {
            throw .malformed("\(error)")
        }
    }

    private init(reading head: RequestHead, origins: OriginRule, deflates: Bool) throws {
        guard head.method == "GET" else { throw HTTPRefusal.methodNotAllowed }
        guard head.list("upgrade").contains(where: { asciiLowercased($0) == "websocket" }),
            head.list("connection").contains(where: { asciiLowercased($0) == "upgrade" }),
            try head.only("sec-websocket-version") == "13"
        else { throw HTTPRefusal.upgradeRequired }
        guard let host = try head.only("host"), !host.isEmpty else { throw HTTPRefusal.malformed("no Host") }
        guard let key = try head.only("sec-websocket-key"), Self.isKey(key) else {
            throw HTTPRefusal.malformed("Sec-WebSocket-Key is not 16 bytes in base64")
        }
        guard head.list("transfer-encoding").isEmpty, try head.only("content-length") ?? "0" == "0" else {
            throw HTTPRefusal.malformed("an upgrade has no body")
        }
        guard origins.admits(origin: try head.only("origin"), host: host) else { throw HTTPRefusal.forbiddenOrigin }
        guard let credential = try Self.credential(head) else { throw HTTPRefusal.unauthorized }
        let offered = head.list("sec-websocket-protocol")
        let known = offered.lazy.compactMap(Subprotocol.init(rawValue:)).first
        (self.key, self.credential) = (key, credential)
        subprotocol = known ?? .msgpack
        deflateAnswer = deflates ? DeflateOffer.answer(to: head.list("sec-websocket-extensions")) : nil
        forwardedFor = try head.only("x-real-ip")
        understandsMove = try QueryString.value(of: "move", in: head.query).map { areSameBytes($0, "1") } ?? false
        confirmed = known?.rawValue ?? offered.first { $0.hasPrefix("bearer.") }
    }

    private static func credential(_ head: RequestHead) throws -> Credential? {
        if let token = try token(head) { return token.isEmpty ? nil : .token(token) }
        guard let ticket = try QueryString.value(of: "ticket", in: head.query), !ticket.isEmpty else { return nil }
        return .ticket(ticket)
    }

    /// Reads the header, else the subprotocol, else the query: the least likely to be logged comes first.
    private static func token(_ head: RequestHead) throws -> String? {
        if let value = try head.only("authorization") { return bearerToken(value) }
        if let offered = head.list("sec-websocket-protocol").first(where: { $0.hasPrefix("bearer.") }) {
            return String(offered.dropFirst(7))
        }
        return try QueryString.value(of: "token", in: head.query)
    }

    /// The token of an `Authorization` header; nil: another scheme.
    static func bearerToken(_ value: String) -> String? {
        guard asciiLowercased(value).utf8.starts(with: "bearer ".utf8) else { return nil }
        return String(decoding: value.utf8.dropFirst(7).drop { $0 == 0x20 }, as: UTF8.self)
    }

    private static func isKey(_ key: String) -> Bool {
        let bytes = Array(key.utf8)
        guard bytes.count == 24, bytes[22] == UInt8(ascii: "="), bytes[23] == UInt8(ascii: "=") else { return false }
        return bytes[..<22].allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "+"), UInt8(ascii: "/"): true
            default: false
            }
        }
    }

    /// The 101 response, which turns the connection into a WebSocket.
    var answer: [UInt8] {
        let digest = Insecure.SHA1.hash(data: Array((key + Self.acceptSuffix).utf8))
        let chosen = confirmed.map { "Sec-WebSocket-Protocol: \($0)\r\n" } ?? ""
        let extensions = deflateAnswer.map { "Sec-WebSocket-Extensions: \($0)\r\n" } ?? ""
        let text = """
            HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: \(base64(Array(digest)))\r\n\(chosen)\(extensions)\r\n
            """
        return Array(text.utf8)
    }
}
