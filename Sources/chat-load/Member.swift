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

    // A move: the next socket is opened and resumed, then it takes the place of `connection`, and that one is left as soon as
    // all requests on it have their answers.
    var next: Connection?
    var old: Connection?
    /// Requests on the old socket.
    var askedOld: Set<Int> = []
    /// Until then a next socket is tried; 0: there is no move.
    var movesUntil: Int64 = 0
    var movesTo: Installation?
    var movedAt: Int64 = 0
    /// Each socket's own streams, once there are two: `streams` is then what they brought together, in which a frame may
    /// come again.
    private(set) var ownStreams: [Stream] = []
    private var nextStreams: [Stream] = []
    private var oldStreams: [Stream] = []

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

    // MARK: Moves

    func socket(numbered number: Int) -> Connection? {
        [connection, next, old].compactMap { $0 }.first { $0.number == number }
    }

    /// - Returns: how the Seq fits into what came on this socket, and whether this member lacked it.
    func take(_ seq: Int64, stream: Int, isResponse: Bool, on socket: Connection) -> (step: Stream.Step, isNew: Bool) {
        let all = streams[stream].take(seq, isResponse: isResponse)
        let isNew = all == .new || all == .early || all == .late
        guard !ownStreams.isEmpty else { return (all, isNew) }
        if socket === next { return (nextStreams[stream].take(seq, isResponse: isResponse), isNew) }
        if socket === old { return (oldStreams[stream].take(seq, isResponse: isResponse), isNew) }
        return (ownStreams[stream].take(seq, isResponse: isResponse), isNew)
    }

    /// `resync`: what is missing up to here comes by REST.
    func skip(to seq: Int64, stream: Int, on socket: Connection) -> [ClosedRange<Int64>] {
        if !ownStreams.isEmpty, socket === next {
            _ = nextStreams[stream].skip(to: seq)
        } else if !ownStreams.isEmpty, socket !== old {
            _ = ownStreams[stream].skip(to: seq)
        }
        return streams[stream].skip(to: seq)
    }

    /// The next socket is welcomed: from here on it resumes.
    func beginResume() {
        nextStreams = streams.map { Stream(room: $0.room, last: $0.resumePoint) }
        if ownStreams.isEmpty { ownStreams = streams }
        for stream in streams.indices { (streams[stream].isResuming, nextStreams[stream].isResuming) = (true, true) }
    }

    /// The next socket has everything: requests go there.
    func change() {
        (old, connection, next) = (connection, next, nil)
        (oldStreams, ownStreams, nextStreams) = (ownStreams, nextStreams, [])
        for stream in ownStreams.indices { ownStreams[stream].isResuming = false }
        (askedOld, movesUntil) = (Set(unanswered), 0)
    }

    /// - Returns: the old socket's streams that have holes.
    func leaveOld() -> [Stream] {
        defer { (old, oldStreams, askedOld) = (nil, [], []) }
        return oldStreams.filter { $0.missing > 0 }
    }

    /// At the end. What an earlier socket brought is no excuse for the one that is open.
    var streamsToCheck: [Stream] {
        ownStreams.isEmpty || streams.contains { $0.missing > 0 } ? streams : ownStreams
    }

    /// The socket in use is gone, and so is the move.
    func endMove() {
        next?.cut()
        old?.cut()
        (next, old, askedOld, movesUntil) = (nil, nil, [], 0)
        (ownStreams, nextStreams, oldStreams) = ([], [], [])
    }

    var roomIDs: [String] = []
    private var streamsWithIDs: [(String, Int64)] { zip(roomIDs, streams).map { ($0, $1.resumePoint) } }
}
