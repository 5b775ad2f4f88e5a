import ChatCore

/// Which Signs a socket waits for an answer to: so that a frame which the store tells again, without naming a socket,
/// still becomes the `response` of the one that asked.
struct UnansweredSigns {
    /// Signs of one socket; later ones are not noted, which costs them only this.
    private static let most = 1000

    private var signs: [UInt64: Set<String>] = [:]

    mutating func insert(_ sign: String, of socket: UInt64) {
        if signs[socket, default: []].count < Self.most { signs[socket, default: []].insert(sign) }
    }

    mutating func remove(_ sign: String, of socket: UInt64) {
        guard signs[socket]?.remove(sign) != nil else { return }
        if signs[socket]?.isEmpty == true { signs[socket] = nil }
    }

    func contains(_ sign: String, of socket: UInt64) -> Bool { signs[socket]?.contains(sign) == true }

    func all(of socket: UInt64) -> Set<String> { signs[socket] ?? [] }

    mutating func forget(_ socket: UInt64) { signs[socket] = nil }

    /// A finished frame, whose Sign has to be read out of it.
    mutating func removeAnswered(by frame: [UInt8], of socket: UInt64) {
        guard signs[socket] != nil, let sign = (try? MessagePackReader.decode(frame))?["Sign"]?.string else { return }
        remove(sign, of: socket)
    }
}
