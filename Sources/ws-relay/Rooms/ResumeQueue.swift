import ChatCore

/// Schedules the look-ups for sockets that missed frames: one at a time per socket, a bounded number in all, in turn.
/// Each returns one page (`CatchUp`), so the memory in use is at most `window` pages. A socket that has not written its
/// page waits until it has (`stall`).
struct ResumeQueue {
    /// Look-ups in progress at a time.
    static let window = 64
    /// Rooms that one socket may resume at a time.
    static let roomsOfSocket = 1000

    private struct Line {
        var rooms: [UUID128] = []
        var head = 0
        /// A look-up is in progress.
        var isOut = false
        var isInTurn = false
        var isStalled = false

        var isEmpty: Bool { head == rooms.count }
    }

    private var lines: [UInt64: Line] = [:]
    private var turns: [UInt64] = []
    private var head = 0
    private(set) var out = 0

    var isIdle: Bool { lines.isEmpty && out == 0 }
    /// Whether a waiting socket may start a look-up now.
    var mayAsk: Bool { head < turns.count && out < Self.window }

    mutating func add(_ room: UUID128, for socket: UInt64) {
        lines[socket, default: Line()].rooms.append(room)
        queue(socket)
    }

    /// The room is incomplete: it is the socket's next one.
    mutating func addFirst(_ room: UUID128, for socket: UInt64) {
        var line = lines[socket] ?? Line()
        if line.head > 0 {
            line.head -= 1
            line.rooms[line.head] = room
        } else {
            line.rooms.insert(room, at: 0)
        }
        lines[socket] = line
        queue(socket)
    }

    private mutating func queue(_ socket: UInt64) {
        guard let line = lines[socket] else { return }
        if line.isEmpty, !line.isOut {
            lines[socket] = nil
        } else if !line.isEmpty, !line.isOut, !line.isInTurn, !line.isStalled {
            lines[socket]?.isInTurn = true
            turns.append(socket)
        }
    }

    /// The socket whose turn it is, with at least one room.
    mutating func nextSocket() -> UInt64? {
        while mayAsk {
            let socket = turns[head]
            head += 1
            if head > 1024, head * 2 > turns.count {
                turns.removeFirst(head)
                head = 0
            }
            guard lines[socket]?.isEmpty == false else { continue }
            lines[socket]?.isInTurn = false
            return socket
        }
        return nil
    }

    /// Takes its next room, for which a look-up starts now.
    mutating func takeRoom(of socket: UInt64) -> UUID128? {
        guard var line = lines[socket], !line.isEmpty else { return nil }
        let room = line.rooms[line.head]
        line.head += 1
        if line.head > 64, line.head * 2 > line.rooms.count {
            line.rooms.removeFirst(line.head)
            line.head = 0
        }
        line.isOut = true
        lines[socket] = line
        out += 1
        return room
    }

    /// The look-up was answered, with any result.
    mutating func answered(for socket: UInt64) {
        if out > 0 { out -= 1 }
        lines[socket]?.isOut = false
        queue(socket)
    }

    /// The socket has not written its last page: it continues after `goOn`.
    mutating func stall(_ socket: UInt64) { lines[socket]?.isStalled = true }

    mutating func goOn(_ socket: UInt64) {
        guard lines[socket]?.isStalled == true else { return }
        lines[socket]?.isStalled = false
        queue(socket)
    }

    /// - Returns: the rooms that it still waited for. (A look-up in progress is answered nevertheless.)
    mutating func forget(_ socket: UInt64) -> ArraySlice<UUID128> {
        guard let line = lines.removeValue(forKey: socket) else { return [] }
        return line.rooms[line.head...]
    }
}
