import ChatCore

/// The state of a socket that gets events, besides its row: where its client stands, and the answer that a long poll
/// will get.
final class EventStream {
    struct Poll {
        /// Frames of one answer, and bytes but for the last of them; what comes then is the next answer's.
        static let maxFrames = 500
        static let maxBytes = 65_536

        /// Seconds that it waits, from `welcome` on.
        let wait: UInt32
        /// Second of the relay's clock at which it is answered with nothing; nil: before `welcome`.
        var until: UInt32?
        var frames: [ArraySlice<UInt8>] = []
        var bytes = 0

        var isFull: Bool { frames.count >= Self.maxFrames || bytes >= Self.maxBytes }
    }

    var cursor: EventCursor
    /// The client said where it was.
    let isResumed: Bool
    /// The cursor was set by something that has no place of its own: the next event tells it.
    var isMoved = false
    /// Nil: a stream.
    var poll: Poll?
    /// Of the answer to a poll.
    let headers: [String]

    init(_ request: EventsRequest) {
        cursor = request.cursor ?? EventCursor()
        isResumed = request.cursor != nil
        poll = request.wait.map { Poll(wait: $0) }
        headers = request.headers
    }

    /// For a refusal, which has a Connection of its own.
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

    /// Frames of a poll have been answered before.
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
    /// Slots of long polls that have something to be answered with, at the end of the tick.
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

    /// With the id that is the client's place once it has the event. A browser takes the id over at the event's empty line,
    /// so a stream that ends in the middle leaves it at the event before.
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

    /// Something to write, so that no proxy takes the stream for dead, and a client that is gone is found out.
    static var comment: SharedFrame { SharedFrame(whole: Array(":\n\n".utf8), isEphemeral: true) }
}
