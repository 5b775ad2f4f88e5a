import ChatCore
import ChatProcess
import Glibc
import Logging

/// Takes over the sockets of a killed relay, which its file keeper keeps open, and its tables as of its last
/// instruction. Sockets between two frames continue. For the others it is unknown what the client has, so they are
/// closed.
struct Salvage {
    /// The time in which PostgreSQL must return the memberships; after that the clients reconnect.
    private static let timeout: Duration = .seconds(60)
    /// Users per query.
    private static let batch = 1000

    private let memory: RelayMemory
    /// Returns the dead relay's descriptors with these numbers.
    private let files: ([Int32]) -> [Int32?]
    private let log: Logger
    private let begun = monotonicMilliseconds()

    /// The relay id in the dead relay's commands: their answers arrive under it.
    var relayID: UInt64 { memory.header.pointee.relayID }

    init(_ memory: RelayMemory, files: @escaping ([Int32]) -> [Int32?], log: Logger) {
        (self.memory, self.files, self.log) = (memory, files, log)
    }

    /// Nil: there is nothing to take over, or its version differs.
    init?(_ kept: KeptFiles, log: Logger) {
        guard let file = kept.stateFile() else {
            log.warning("nothing is taken over: the dead relay left nothing")
            return nil
        }
        defer { close(file) }
        guard let memory = RelayMemory(leftIn: file) else {
            log.warning("nothing is taken over: the dead relay's tables are of another version")
            return nil
        }
        self.init(memory, files: kept.files, log: log)
    }

    /// - Parameter hub: in a tick that has begun now.
    func takeOver(_ hub: Hub, _ history: any RoomHistory) throws {
        let rows = (0..<Int(memory.header.pointee.connections)).map { memory.connections[$0] }
            .filter { $0.descriptor >= 0 && $0.flags.isDisjoint(with: [.closing, .greeting]) }
        let users = rows.map { $0.user == noIndex ? nil : memory.users[Int($0.user)] }
        let memberships = try memberships(of: Array(Set(users.compactMap { $0 })), history)
        var count = (kept: 0, closed: 0)
        var held: [(slot: UInt32, passed: [UUID128: UInt64])] = []
        var marks: [UInt32: [UUID128: UInt64]] = [:]
        for (row, (user, file)) in zip(rows, zip(users, files(rows.map(\.descriptor)))) {
            guard let file else { continue }
            let passed = row.heldSince == 0 ? nil : memory.firstFrames(after: row.heldSince, known: &marks)
            if let user, !row.getsEvents, row.standsBetweenFrames, passed != nil || !row.flags.contains(.slow) {
                count.kept += 1
                let slot = hub.adopt(file, row, of: user, isAhead: passed == nil && hasPending(row))
                if let slot, let passed, !row.flags.contains(.fresh) { held.append((slot, passed)) }
            } else {
                count.closed += 1
                Self.sendAway(file, row)
            }
        }
        hub.sockets.serial = memory.header.pointee.serial + 1
        hub.goOn(memberships, rooms: rooms(), areAhead: memory.header.pointee.phase == .flushing)
        for (slot, passed) in held { hub.holds.goOn(slot, passed) }
        resubmit(to: hub)
        log.notice(
            "a killed relay's sockets are taken over",
            metadata: [
                "sockets": "\(count.kept)", "closed": "\(count.closed)",
                "ms": "\(monotonicMilliseconds() - begun)",
            ])
    }

    /// Sends the commands again whose answers clients still wait for, in their order.
    private func resubmit(to hub: Hub) {
        for (socket, bytes) in memory.journal.all() {
            guard let commands = try? Command.decodeAll(Command.joined([bytes])) else { continue }
            for command in commands { hub.requests.resubmit(command, of: socket) }
        }
    }

    /// Whether the socket received its frames in the flush during which the relay died.
    private func hasPending(_ row: Connection) -> Bool {
        let header = memory.header.pointee
        return header.phase == .flushing && row.flushed == header.flush
    }

    /// By room: the frames that every socket has, and those that only some have.
    private func rooms() -> [UUID128: RelayMemory.Room] {
        var found: [UUID128: RelayMemory.Room] = [:]
        for row in 0..<Int(memory.header.pointee.rooms) {
            var room = memory.rooms[row]
            if memory.header.pointee.phase == .committing { room.committed = room.pending }
            found[room.id] = room
        }
        return found
    }

    private func memberships(of users: [UUID128], _ history: any RoomHistory) throws -> [Membership] {
        var found: [Membership] = []
        for start in stride(from: 0, to: users.count, by: Self.batch) {
            let some = Array(users[start..<min(start + Self.batch, users.count)])
            while true {
                do throws(StoreError) {
                    found += try history.memberships(of: some)
                    break
                } catch {
                    guard monotonicMilliseconds() - begun < Self.timeout.milliseconds else { throw error }
                    log.warning("the memberships must be read from PostgreSQL first", metadata: ["error": "\(error)"])
                    usleep(200_000)
                }
            }
        }
        return found
    }

    /// Closes a socket that was in the middle of a frame: its state is unknown, and the client sees the connection end.
    /// A client of a stream of events has its position in the last event's id, and reconnects by itself.
    private static func sendAway(_ file: Int32, _ row: Connection) {
        if row.flags.contains(.welcomed), !row.flags.contains(.watchesWrite), !row.getsEvents {
            let frame = FrameHeader.close(.goingAway, "the relay failed; connect again and resume")
            _ = send(file, frame, frame.count, sendFlags)
        }
        shutdown(file, Int32(SHUT_RDWR))
        close(file)
    }
}

extension Connection {
    /// Whether nothing of the socket was lost with the process: no half-read frame, no half-written or waiting one.
    fileprivate var standsBetweenFrames: Bool {
        let isOpen = flags.isDisjoint(with: [.reading, .writing, .watchesWrite, .resuming])
        // Before `welcome` the answer to the upgrade may still be unwritten.
        return isOpen && (flags.contains(.welcomed) || !flags.contains(.dirty))
    }
}

extension Hub {
    /// Adopts a socket of a dead relay.
    ///
    /// - Parameter isAhead: it received its frames in the flush during which the relay died.
    fileprivate func adopt(_ descriptor: Int32, _ row: Connection, of id: UUID128, isAhead: Bool) -> UInt32? {
        guard let slot = sockets.adopt(descriptor, row, isAhead: isAhead) else { return nil }
        let user = users.index(id) ?? users.open(id)
        users.attach(slot, to: user)
        if row.flags.contains(.welcomed) { users.wasReady(user) }
        return slot
    }

    /// Enters the rooms; the others join anew.
    fileprivate func goOn(_ memberships: [Membership], rooms left: [UUID128: RelayMemory.Room], areAhead: Bool) {
        for membership in memberships {
            guard let user = users.index(membership.user), users[user].stage == .ready else { continue }
            if membership.hidesPresence { users.hidePresence(user, true) }
            if membership.isBlocked { users.block(membership.room, true, user) }
            if membership.isRoom { rooms.enter(membership, user, left: left[membership.room], areAhead: areAhead) }
        }
        users.forEach { user in
            feed.subscribe(BusChannel.user(users[user].id))
            guard users[user].stage == .ready else { return }
            users.forEachConnection(of: user) { welcome($0) }
        }
    }
}
