import ChatCore

/// Who comes and goes. When many do at once the others hear of some only: a frame to every room of everybody would
/// drown the messages, and the REST API knows it exactly.
extension Hub {
    /// Frames a second, each to one room.
    static let presenceRate = 200
    /// Members here above which a room is not told: each of its members would cost it a frame to all the others.
    private static let presenceMembers = 100
    /// Seconds that a user may be away without it being told.
    private static let presenceDelay: UInt32 = 5

    func arrived(_ user: UInt32) {
        let id = users[user].id
        guard departures.removeValue(forKey: id) == nil else { return }
        tell(id, isOnline: true, presenceRooms(of: user))
    }

    /// Where the user's coming and going is told: nowhere, when they hide it.
    func presenceRooms(of user: UInt32) -> [UUID128] {
        users[user].hidesPresence ? [] : roomsToTell(of: user)
    }

    /// The user hides their presence from now on, or shows it again; to the others they leave or come.
    func presence(of user: UInt32, isHidden: Bool) {
        guard users[user].hidesPresence != isHidden else { return }
        users[user].hidesPresence = isHidden
        let mark = PresenceMark(userID: users[user].id, isOnline: !isHidden)
        for room in roomsToTell(of: user).prefix(presenceBudget) {
            presenceBudget -= 1
            ephemerals.publish(RoomFrame(mark, in: room), in: room)
        }
    }

    private func roomsToTell(of user: UInt32) -> [UUID128] {
        users[user].rooms.filter { $0.members.count <= Self.presenceMembers }.map(\.id)
    }

    func departed(_ id: UUID128, _ rooms: [UUID128]) { departures[id] = (rooms, now) }

    /// Once a second.
    func tellPresence() {
        presenceBudget = Self.presenceRate
        for (id, departure) in departures where now &- departure.at >= Self.presenceDelay {
            departures[id] = nil
            if users.index(id) == nil { tell(id, isOnline: false, departure.rooms) }
        }
        guard now % 60 == 0 else { return }
        ephemerals.renew(Array(users.indexes.keys), at: unixMilliseconds)
    }

    /// Behind everything that was written to the user's sockets goes a ping: what answers it has got all of that.
    func probe(_ user: UInt32) {
        users.forEachConnection(of: user, connections) { slot in
            guard connections[slot].flags.contains(.welcomed) else { return }
            connections[slot].flags.insert(.probed)
            send(SharedFrame(.ping, []), to: slot)
        }
    }

    func showLife(_ slot: UInt32) {
        let user = connections[slot].user
        if user != noIndex { ephemerals.noteLife(of: users[user].id, at: unixMilliseconds) }
    }

    private func tell(_ id: UUID128, isOnline: Bool, _ rooms: [UUID128]) {
        let told = Array(rooms.prefix(presenceBudget))
        presenceBudget -= told.count
        ephemerals.note(Presence(user: id, isOnline: isOnline, rooms: told, at: unixMilliseconds))
    }
}

extension RoomFrame {
    /// Outside of the order, and not for its user's own sockets.
    init(_ mark: PresenceMark, in room: UUID128) {
        self.init(
            seq: 0, kind: .presence, asker: mark.userID, body: FrameBody(room: room) { mark.write(to: &$0) })
    }
}
