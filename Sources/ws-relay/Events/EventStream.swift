import ChatCore

/// The state of a socket for events, besides its row: the client's position, and the coming answer to a long poll.
final class EventStream {
    struct Poll {
        /// Frames of one answer, and bytes of all but the last of them; later frames go into the next answer.
        static let maxFrames = 500
        static let maxBytes = 65_536

        /// Seconds that it waits, from `welcome` on.
        let wait: UInt32
        /// Second of the relay's clock at which it gets an answer without frames; nil: before `welcome`.
        var until: UInt32?
        var frames: [ArraySlice<UInt8>] = []
        var bytes = 0

        var isFull: Bool { frames.count >= Self.maxFrames || bytes >= Self.maxBytes }
    }

    var cursor: EventCursor
    /// The client gave its position.
    let isResumed: Bool
    /// The cursor was changed without an event for it: the next event has the new id.
    var isMoved = false
    /// Nil: a stream.
    var poll: Poll?
    /// Headers of the answer to a poll.
    let headers: [String]

    init(_ request: EventsRequest) {
        cursor = request.cursor ?? EventCursor()
        isResumed = request.cursor != nil
        poll = request.wait.map { Poll(wait: $0) }
        headers = request.headers
    }

    /// Headers for a refusal, which has its own Connection header.
    var pageHeaders: [String] { headers.filter { !$0.utf8.starts(with: "Connection:".utf8) } }

    // MARK: Hand-over

    init(from state: inout StateReader) throws(StateUnreadable) {
        isResumed = try state.take()
        isMoved = try state.take()
        if try state.take(Bool.self) {
            var poll = Poll(wait: try state.take(UInt32.self))
            if try state.take(Bool.self) { poll.until = try state.take(UInt32.self) }
            self.poll = poll
        }
        var headers: [String] = []
        for _ in 0..<(try state.take(UInt32.self)) { headers.append(try state.takeText()) }
        self.headers = headers
        cursor = EventCursor(places: try state.takeArray())
    }

    /// Frames of a poll are not written: polls are answered before a hand-over.
    func write(to state: inout StateWriter) {
        state.put(isResumed)
        state.put(isMoved)
        state.put(poll != nil)
        if let poll {
            state.put(poll.wait)
            state.put(poll.until != nil)
            if let until = poll.until { state.put(until) }
        }
        state.put(UInt32(headers.count))
        headers.forEach { state.put($0) }
        state.put(array: cursor.places)
    }
}

/// The `EventStream` of each socket that gets events.
final class EventStreams {
    private var streams: [UInt32: EventStream] = [:] {
        didSet { memory.hasEvents = !streams.isEmpty }
    }
    /// Slots of long polls that have frames; they are answered at the end of the tick.
    private var answered: [UInt32] = []
    /// Users with more rooms than an id can name.
    private var crowded: Set<UInt32> = []
    private let memory: RelayMemory

    init(_ memory: RelayMemory) { self.memory = memory }

    var count: Int { streams.count }
    var isEmpty: Bool { streams.isEmpty }
    var slots: [UInt32] { Array(streams.keys) }

    subscript(slot: UInt32) -> EventStream? { streams[slot] }

    func set(_ stream: EventStream, _ slot: UInt32) { streams[slot] = stream }

    func forget(_ slot: UInt32) { if streams[slot] != nil { streams[slot] = nil } }

    func willAnswer(_ slot: UInt32) { answered.append(slot) }

    func takeAnswered() -> [UInt32] {
        defer { answered.removeAll(keepingCapacity: answered.count < 1024) }
        return answered
    }

    /// A user entered or left a room.
    func note(_ user: UInt32, rooms count: Int) {
        if count > EventCursor.maxRooms {
            crowded.insert(user)
        } else if !crowded.isEmpty {
            crowded.remove(user)
        }
    }

    func namesAllRooms(of user: UInt32) -> Bool { !crowded.contains(user) }
}

extension SharedFrame {
    private static let before = Array("data: ".utf8)
    private static let after = Array("\n\n".utf8)

    /// A frame as an event, without an id: the JSON is one line.
    static func event(_ body: FrameBody, _ kind: FrameKind, place: Place?) -> SharedFrame {
        let bytes = before + ClientFrames.json(of: body.frame(kind)) + after
        return SharedFrame(whole: bytes, isEphemeral: kind == .typing || kind == .presence, place: place)
    }

    /// Adds the id, which is the client's position after the event. A browser takes the id at the event's empty line,
    /// so a stream that ends in the middle of an event leaves the browser at the previous one.
    func with(id: [UInt8]) -> SharedFrame {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(5 + id.count + count)
        bytes += "id: ".utf8
        bytes += id
        bytes.append(UInt8(ascii: "\n"))
        withBytes { bytes += $0 }
        return SharedFrame(whole: bytes, isEphemeral: isEphemeral, place: place)
    }

    /// The frame in an event.
    var json: ArraySlice<UInt8> { withBytes { Array($0) }.dropFirst(Self.before.count).dropLast(Self.after.count) }

    /// A comment, so that no proxy treats the stream as dead, and a lost client is detected by the write.
    static var comment: SharedFrame { SharedFrame(whole: Array(":\n\n".utf8), isEphemeral: true) }
}
