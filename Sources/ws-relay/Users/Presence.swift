import ChatCore

/// Announces users who come online or leave. When many do so at once, only some are announced: frames to all rooms of
/// all users would delay the messages, and the REST API has the exact state.
final class PresenceNews {
    /// Frames per second, each to one room.
    private static let rate = 200
    /// A room with more members here gets no presence: each member's change would cost a frame to all the others.
    private static let maxMembers = 100
    /// How long a user must be offline before it is announced.
    private static let delay: Duration = .seconds(5)

    private struct Departure {
        var rooms: [UUID128]
        /// Second of the monotonic clock.
        var at: UInt32
    }

    private let users: Users
    private let clock: TickClock
    private let ephemerals: any EphemeralOutlet
    /// Users whose last socket just closed: a client that reconnects at once was never offline.
    private var departures: [UUID128: Departure] = [:]
    /// Frames that may still be sent in this second.
    private var budget = rate

    init(_ users: Users, _ clock: TickClock, _ ephemerals: any EphemeralOutlet) {
        (self.users, self.clock, self.ephemerals) = (users, clock, ephemerals)
    }

    func arrived(_ user: UInt32) {
        let id = users[user].id
        guard departures.removeValue(forKey: id) == nil else { return }
        tell(id, isOnline: true, users[user].hidesPresence ? [] : rooms(of: user))
    }

    /// Call it before the user leaves the rooms.
    func departed(_ user: UInt32) {
        let rooms = users[user].hidesPresence ? [] : rooms(of: user)
        departures[users[user].id] = Departure(rooms: rooms, at: clock.second)
    }

    /// The user hides their presence from now on, or shows it again; others see this as leaving or coming.
    func hide(_ user: UInt32, _ isHidden: Bool) {
        guard users[user].hidesPresence != isHidden else { return }
        users.hidePresence(user, isHidden)
        let mark = PresenceMark(userID: users[user].id, isOnline: !isHidden)
        for room in rooms(of: user).prefix(budget) {
            budget -= 1
            ephemerals.publish(RoomFrame(mark, in: room), in: room)
        }
    }

    /// The rooms that are told about the user.
    private func rooms(of user: UInt32) -> [UUID128] {
        users[user].rooms.filter { $0.members.count <= Self.maxMembers }.map(\.id)
    }

    func everySecond() {
        budget = Self.rate
        for (id, departure) in departures where clock.second &- departure.at >= UInt32(seconds: Self.delay) {
            departures[id] = nil
            if users.index(id) == nil { tell(id, isOnline: false, departure.rooms) }
        }
        guard clock.second % 60 == 0 else { return }
        ephemerals.renew(Array(users.indexes.keys), at: clock.unixMilliseconds)
    }

    private func tell(_ id: UUID128, isOnline: Bool, _ rooms: [UUID128]) {
        let told = Array(rooms.prefix(budget))
        budget -= told.count
        ephemerals.note(Presence(user: id, isOnline: isOnline, rooms: told, at: clock.unixMilliseconds))
    }

    // MARK: Hand-over

    func write(to state: inout StateWriter) {
        state.put(UInt32(departures.count))
        for (user, departure) in departures {
            state.put(user)
            state.put(departure.at)
            state.put(array: departure.rooms)
        }
    }

    func adopt(from state: inout StateReader) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let user = try state.take(UUID128.self)
            let at: UInt32 = try state.take()
            departures[user] = Departure(rooms: try state.takeArray(), at: at)
        }
    }

    /// Forgets the departures: a successor announces them.
    func letGo() { departures = [:] }
}

extension RoomFrame {
    /// A frame outside of the room's order, which the user's own sockets do not get.
    init(_ mark: PresenceMark, in room: UUID128) {
        self.init(
            seq: 0, kind: .presence, asker: mark.userID, body: FrameBody(room: room) { mark.write(to: &$0) })
    }
}
