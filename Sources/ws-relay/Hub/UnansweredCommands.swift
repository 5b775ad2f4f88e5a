import ChatCore
import ChatProcess

/// The unanswered commands of each socket, by their Sign. A frame from the store names no socket, but still becomes the
/// `response` of the one that asked. The commands also survive a crash.
final class UnansweredCommands {
    /// Commands per socket; later ones are not recorded, and lose only these two services.
    private static let maxCommands = 1000

    private struct Waiting {
        /// Its position in the journal.
        let place: UInt64?
        let since: Nanoseconds
        /// nil: it is not traced.
        let trace: SocketTrace?
    }

    private let relayID: UInt64
    private let journal: CommandJournal
    private let sockets: Sockets
    private let users: Users
    /// By socket and Sign; "" stands for no Sign. A client may use a Sign twice.
    private var waiting: [UInt64: [String: [Waiting]]] = [:]
    /// nil: nothing is traced.
    private let tracer: Tracer?

    init(_ relayID: UInt64, _ sockets: Sockets, _ users: Users, _ tracer: Tracer?) {
        (self.relayID, self.sockets, self.users, self.tracer) = (relayID, sockets, users, tracer)
        journal = sockets.memory.journal
    }

    /// The socket that asked and gets the frame as its `response`; `noIndex`: it is not here. Frames from the store do
    /// not name it: then it is the one socket of the asker that waits for an answer with this Sign.
    func asker(of frame: RoomFrame) -> UInt32 {
        if let origin = frame.origin {
            return origin.relay == relayID ? sockets.slot(ofSerial: origin.socket) ?? noIndex : noIndex
        }
        guard let id = frame.asker, let sign = frame.sign, let user = users.index(id) else { return noIndex }
        var found = noIndex
        users.forEachConnection(of: user) { slot in
            if waiting[sockets[slot].serial]?[sign] != nil { found = slot }
        }
        return found
    }

    /// - Parameters:
    ///   - command: the encoded command; nil: the broker already has it.
    ///   - traced: the same command, where it is to be traced.
    func insert(_ sign: String?, of socket: UInt64, command: [UInt8]?, traced: Command? = nil) {
        guard waiting[socket]?.count ?? 0 < Self.maxCommands else { return }
        let place = command.map { journal.append($0, of: socket) }
        waiting[socket, default: [:]][sign ?? "", default: []].append(
            Waiting(place: place, since: monotonicNow(), trace: trace(traced)))
    }

    private func trace(_ command: Command?) -> SocketTrace? {
        guard let command, let tracer, tracer.sampler.records(command.id) else { return nil }
        return SocketTrace(command)
    }

    /// - Parameter refusal: the code of the answer.
    /// - Returns: since when it waited.
    @discardableResult
    func remove(_ sign: String?, of socket: UInt64, refusal: String? = nil) -> Nanoseconds? {
        guard var commands = waiting[socket]?[sign ?? ""] else { return nil }
        let first = commands.removeFirst()
        if let place = first.place { journal.remove(place) }
        if let trace = first.trace, let tracer { trace.end(refusal, since: first.since, tracer) }
        waiting[socket]?[sign ?? ""] = commands.isEmpty ? nil : commands
        if waiting[socket]?.isEmpty == true { waiting[socket] = nil }
        return first.since
    }

    func forget(_ socket: UInt64) {
        guard let signs = waiting.removeValue(forKey: socket) else { return }
        for command in signs.values.joined() {
            if let place = command.place { journal.remove(place) }
            // Its socket is closed; the command is still executed.
            if let trace = command.trace, let tracer { trace.end("closed", since: command.since, tracer) }
        }
    }

    /// A finished frame, from which the Sign must be read.
    func removeAnswered(by frame: [UInt8], of socket: UInt64) {
        guard waiting[socket] != nil, let value = try? MessagePackReader.decode(frame) else { return }
        // Only the code: the sentence after it may contain a user's text.
        let refusal = value["Success"]?.bool == false ? Refusal(answer: value["Error"]?.string ?? "").code : nil
        remove(value["Sign"]?.string, of: socket, refusal: refusal?.rawValue)
    }

    // MARK: Hand-over

    /// Only the Signs.
    func write(of serials: [UInt64], to state: inout StateWriter) {
        let some = serials.compactMap { serial in waiting[serial].map { (serial, signs: $0.keys) } }
        state.put(UInt32(some.count))
        for (serial, signs) in some {
            state.put(serial)
            state.put(UInt32(signs.count))
            for sign in signs { state.put(sign) }
        }
    }

    func adopt(from state: inout StateReader) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let serial: UInt64 = try state.take()
            for _ in 0..<(try state.take(UInt32.self)) { insert(try state.takeText(), of: serial, command: nil) }
        }
    }
}

/// The span of a command from its arrival on a socket until its answer goes out.
final class SocketTrace {
    private let place: TraceParent
    private let name: String
    private let room: UUID128

    init(_ command: Command) {
        place = TraceParent(of: command.id)
        name = command.action.kind.name
        room = command.room
    }

    func end(_ refusal: String?, since: Nanoseconds, _ tracer: Tracer) {
        let end = unixNanoseconds()
        var attributes: [Span.Attribute] = [
            .init("chat.command.id", .text(place.trace.description)), .init("chat.room.id", .text(room.description)),
        ]
        if let refusal { attributes.append(.init("error.type", .text(refusal))) }
        tracer.outlet.put([
            Span(
                trace: place.trace, id: place.span, parent: nil, name: "socket \(name)", kind: .server,
                start: end - (monotonicNow() - since), end: end, attributes: attributes)
        ])
    }
}
