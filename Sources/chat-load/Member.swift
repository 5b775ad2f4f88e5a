import ChatCore

/// One user of the run: a socket that closes and reconnects, and a stream for each of the user's rooms.
final class Member {
    enum Phase { case away, opening, resuming, ready }

    let index: Int
    var user: Credentials.User
    /// The server's id of the user; known after `welcome`.
    var serverID = ""
    var phase = Phase.away
    var connection: Connection?
    var streams: [Stream] = []
    /// The last eight bytes of each stream's room id: a look-up without a table, users have few rooms.
    var ends: [UInt64] = []
    /// Sent and not yet answered; after a reconnect they are sent again with the same Sign.
    var unanswered: [Int] = []
    /// Due while there was no socket.
    var waiting: [Int] = []
    var attempts = 0
    var openedAt: Int64 = 0
    var readyAt: Int64 = 0
    /// `resume` was sent and has no answer yet.
    var awaitsResume = false
    var hasBeenReady = false
    /// The run closed this connection on purpose, so its end is not an error.
    var isChurned = false

    init(index: Int, user: Credentials.User) { (self.index, self.user) = (index, user) }

    /// For a line of the report: a token may name any user.
    var shownID: String { printable(user.id) }

    func join(room: Int, id: String, last: Int64) {
        streams.append(Stream(room: room, last: last))
        ends.append(Array(id.utf8.suffix(8)).withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
    }

    func stream(ofRoomEndingWith end: UInt64) -> Int? { ends.firstIndex(of: end) }
    func stream(of room: String) -> Int? {
        guard room.utf8.count == 36 else { return nil }
        return stream(
            ofRoomEndingWith: Array(room.utf8.suffix(8)).withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
    }

    /// The request that makes this socket continue where the last one ended.
    func resume() -> [UInt8] {
        var writer = MessagePackWriter()
        writer.map {
            $0.field("Type", "resume")
            $0.field("Sign", "resume")
            $0.array("Rooms", streamsWithIDs) { writer, point in
                writer.map {
                    $0.field("RoomID", point.0)
                    $0.field("Seq", point.1)
                }
            }
        }
        return writer.bytes
    }

    var roomIDs: [String] = []
    private var streamsWithIDs: [(String, Int64)] { zip(roomIDs, streams).map { ($0, $1.resumePoint) } }
}
