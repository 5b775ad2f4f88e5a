public import ChatCore

/// Each ticket is a key that expires by itself; GETDEL takes it and its value in one step.
public final class RedisTickets: TicketStore {
    private let connection: RedisConnection

    public init(_ connection: RedisConnection) { self.connection = connection }

    public func issue(for identity: Identity) throws(BusError) -> String {
        var random = SystemRandomNumberGenerator()
        let ticket = (0..<4).map { _ in
            let part = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - part.count) + part
        }.joined()
        let lifetime = "\(Ticket.lifetime.seconds)"
        _ = try command(["SET", RedisKey.ticket(ticket), Self.text(of: identity), "EX", lifetime])
        return ticket
    }

    public func redeem(_ ticket: String) throws(BusError) -> Identity? {
        // Untrusted text from a URL must not become a key.
        guard ticket.utf8.count == 64, ticket.utf8.allSatisfy(Self.isHex) else { return nil }
        guard let bytes = try command(["GETDEL", RedisKey.ticket(ticket)]).bytes else { return nil }
        return Self.identity(of: String(decoding: bytes, as: UTF8.self))
    }

    private func command(_ words: [String]) throws(BusError) -> RedisValue {
        do { return try connection.command(words.words) } catch { throw BusError("\(error)") }
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
    }

    /// The host application chooses the `jti`: it comes last because it may contain anything.
    private static func text(of identity: Identity) -> String {
        let issued = identity.issuedAt.map { "\($0)" } ?? ""
        let start = "\(identity.user) \(identity.expiresAt) \(issued)"
        return identity.tokenID.map { "\(start) \($0)" } ?? start
    }

    private static func identity(of text: String) -> Identity? {
        let parts = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count >= 3, let user = UUID128(String(parts[0])), let expires = Int64(parts[1]) else { return nil }
        return Identity(
            user: user, expiresAt: expires, issuedAt: Int64(parts[2]),
            tokenID: parts.count > 3 ? String(parts[3]) : nil)
    }
}
