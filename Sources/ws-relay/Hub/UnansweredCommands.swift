import ChatCore
import ChatProcess

/// The unanswered commands of each socket, by their Sign. A frame from the store names no socket, but still becomes the
/// `response` of the one that asked. The commands also survive a crash.
final class UnansweredCommands {
    /// Commands per socket; later ones are not recorded, and lose only these two services.
    private static let most = 1000

    private struct Waiting {
        /// In the journal.
        let place: UInt64?
        let since: Nanoseconds
    }

    private let journal: CommandJournal
    /// By socket and Sign; "" stands for no Sign. A client may use a Sign twice.
    private var waiting: [UInt64: [String: [Waiting]]] = [:]

    init(_ journal: CommandJournal) { self.journal = journal }

    /// - Parameter command: the encoded command; nil: the broker already has it.
    func insert(_ sign: String?, of socket: UInt64, command: [UInt8]?) {
        guard waiting[socket]?.count ?? 0 < Self.most else { return }
        let place = command.map { journal.append($0, of: socket) }
        waiting[socket, default: [:]][sign ?? "", default: []].append(Waiting(place: place, since: monotonicNow()))
    }

    /// - Returns: since when it waited.
    @discardableResult
    func remove(_ sign: String?, of socket: UInt64) -> Nanoseconds? {
        guard var commands = waiting[socket]?[sign ?? ""] else { return nil }
        let first = commands.removeFirst()
        if let place = first.place { journal.remove(place) }
        waiting[socket]?[sign ?? ""] = commands.isEmpty ? nil : commands
        if waiting[socket]?.isEmpty == true { waiting[socket] = nil }
        return first.since
    }

    func contains(_ sign: String, of socket: UInt64) -> Bool { waiting[socket]?[sign] != nil }

    func isWaiting(_ socket: UInt64) -> Bool { waiting[socket] != nil }

    /// Only the Signs.
    func all(of socket: UInt64) -> [String] { waiting[socket].map { Array($0.keys) } ?? [] }

    func forget(_ socket: UInt64) {
        guard let signs = waiting.removeValue(forKey: socket) else { return }
        for command in signs.values.joined() { if let place = command.place { journal.remove(place) } }
    }

    /// A finished frame, from which the Sign must be read.
    func removeAnswered(by frame: [UInt8], of socket: UInt64) {
        guard waiting[socket] != nil, let value = try? MessagePackReader.decode(frame) else { return }
        remove(value["Sign"]?.string, of: socket)
    }
}
