import ChatCore

/// The unanswered commands of each socket, by their Sign. A frame from the store names no socket, but still becomes the
/// `response` of the one that asked. The commands also survive a crash.
final class UnansweredCommands {
    /// Commands per socket; later ones are not recorded, and lose only these two services.
    private static let most = 1000

    private let journal: CommandJournal
    /// Positions in the journal, by socket and Sign; "" means no Sign. A client may use a Sign twice.
    private var waiting: [UInt64: [String: [UInt64?]]] = [:]

    init(_ journal: CommandJournal) { self.journal = journal }

    /// - Parameter command: the encoded command; nil: the broker already has it.
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

    /// Only the Signs.
    func all(of socket: UInt64) -> [String] { waiting[socket].map { Array($0.keys) } ?? [] }

    func forget(_ socket: UInt64) {
        guard let signs = waiting.removeValue(forKey: socket) else { return }
        for place in signs.values.joined() { if let place { journal.remove(place) } }
    }

    /// A finished frame, from which the Sign must be read.
    func removeAnswered(by frame: [UInt8], of socket: UInt64) {
        guard waiting[socket] != nil, let value = try? MessagePackReader.decode(frame) else { return }
        remove(value["Sign"]?.string, of: socket)
    }
}
