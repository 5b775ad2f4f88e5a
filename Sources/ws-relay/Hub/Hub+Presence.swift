import ChatCore

/// Announces who comes online and who leaves. When many do so at once, only some are announced: a frame to every room
/// of every user would crowd out the messages, and the REST API has the exact state.
extension Hub {
    /// Frames per second, each to one room.
    static let presenceRate = 200
    /// A room with more members here gets no presence: each member's change would cost a frame to all the others.
    private static let presenceMembers = 100
    /// Seconds for which a user may be offline before it is announced.
    private static let presenceDelay: UInt32 = 5

    func arrived(_ user: UInt32) {
        let id = users[user].id
        guard departures.removeValue(forKey: id) == nil else { return }
        tell(id, isOnline: true, presenceRooms(of: user))
    }

    /// The rooms that are told about the user's presence: none when the user hides it.
    func presenceRooms(of user: UInt32) -> [UUID128] {
        users[user].hidesPresence ? [] : roomsToTell(of: user)
    }

    /// The user hides their presence from now on, or shows it again; to others this looks like leaving or coming.
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

    /// Sends a ping behind everything that was written to the user's sockets: an answer proves that all of it arrived.
    func probe(_ user: UInt32) {
        users.forEachConnection(of: user, connections) { slot in
            guard connections[slot].flags.contains(.welcomed), !connections[slot].getsEvents else { return }
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
    /// A frame outside of the room's order, which the user's own sockets do not get.
    init(_ mark: PresenceMark, in room: UUID128) {
        self.init(
            seq: 0, kind: .presence, asker: mark.userID, body: FrameBody(room: room) { mark.write(to: &$0) })
    }
}
