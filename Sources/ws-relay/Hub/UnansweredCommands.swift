import ChatCore

/// The commands that each socket waits for an answer to, by their Sign: so that a frame which the store tells again,
/// without naming a socket, still becomes the `response` of the one that asked; and so that they are known after a crash.
final class UnansweredCommands {
    /// Of one socket; later ones are not noted, which costs them only this.
    private static let most = 1000

    private let journal: CommandJournal
    /// Places in the journal, by socket and Sign; "" stands for no Sign. A client may use a Sign twice.
    private var waiting: [UInt64: [String: [UInt64?]]] = [:]

    init(_ journal: CommandJournal) { self.journal = journal }

    /// - Parameter command: encoded; nil: it is safe with the broker.
    func insert(_ sign: String?, of socket: UInt64, command: [UInt8]?) {
        guard waiting[socket]?.count ?? 0 < Self.most else { return }
        waiting[socket, default: [:]][sign ?? "", default: []].append(command.map { journal.append($0, of: socket) })
    }

    func remove(_ sign: String?, of socket: UInt64) {
        guard var places = waiting[socket]?[sign ?? ""] else { return }
        if let place = places.removeFirst() { journal.remove(place) }
        waiting[socket]?[sign ?? ""] = places.isEmpty ? nil : places
        if waiting[socket]?.isEmpty == true { waiting[socket] = nil }
    }

    func contains(_ sign: String, of socket: UInt64) -> Bool { waiting[socket]?[sign] != nil }

    func isWaiting(_ socket: UInt64) -> Bool { waiting[socket] != nil }

    /// The Signs alone.
    func all(of socket: UInt64) -> [String] { waiting[socket].map { Array($0.keys) } ?? [] }

    func forget(_ socket: UInt64) {
        guard let signs = waiting.removeValue(forKey: socket) else { return }
        for place in signs.values.joined() { if let place { journal.remove(place) } }
    }

    /// A finished frame, whose Sign has to be read out of it.
    func removeAnswered(by frame: [UInt8], of socket: UInt64) {
        guard waiting[socket] != nil, let value = try? MessagePackReader.decode(frame) else { return }
        remove(value["Sign"]?.string, of: socket)
    }
}
