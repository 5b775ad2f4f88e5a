import ChatCore

/// A client's position in its rooms, as the id of an event contains it. With the id in `Last-Event-ID` any relay can
/// continue exactly there; the relay stores no positions.
///
/// A room is stored as its key, the newest Seq that the client has, and the epoch of that history. The position in a
/// room that the id does not name is unknown: the client is told to fetch the room.
///
/// Every event that changes a position has an id, so the id is kept as text: a change writes 16 of its letters.
struct EventCursor: Sendable {
    /// An id has to fit into a request's head, and to cost an event little. Users with more rooms get no ids.
    static let maxRooms = 256
    static let maxBytes = version.count + maxRooms * lettersOfPlace
    static let version: [UInt8] = Array("1.".utf8)
    /// Six bytes of the room, one of the epoch and five of the Seq, the highest first, in base64.
    private static let bytesOfPlace = 12
    private static let lettersOfPlace = 16
    private static let largestSeq: UInt64 = 1 << 40 - 1
    private static let largestEpoch: UInt64 = 255

    /// 48 bits of a room's id, all of them random. A user would need millions of rooms for two with the same.
    struct Place: Equatable, BitwiseCopyable {
        var key: UInt64
        var seq: UInt64
        var epoch: UInt64

        init(_ room: UUID128, _ seq: UInt64, epoch: Int64) {
            (key, self.seq, self.epoch) = (EventCursor.key(room), seq, UInt64(clamping: epoch))
        }

        fileprivate init(_ bytes: some Collection<UInt8>) {
            func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
            (key, epoch) = (number(bytes.prefix(6)), number(bytes.dropFirst(6).prefix(1)))
            seq = number(bytes.dropFirst(7))
        }

        /// Nil: the Seq is too large for an id. No room reaches it: it would take 1,000 messages a second for 34 years.
        fileprivate var letters: [UInt8]? {
            guard seq <= EventCursor.largestSeq, epoch <= EventCursor.largestEpoch else { return nil }
            let (high, low) = (key << 16 | epoch << 8 | seq >> 32, UInt32(truncatingIfNeeded: seq))
            return base64URL(
                withUnsafeBytes(of: high.bigEndian) { Array($0) } + withUnsafeBytes(of: low.bigEndian) { Array($0) })
        }

        /// For `resume`.
        var point: (seq: Int64, epoch: Int64) { (Int64(clamping: seq), Int64(clamping: epoch)) }
    }

    private(set) var places: [Place] = []
    private(set) var id = version

    init() {}

    /// - Parameter places: one per room.
    init(places: [Place]) {
        id.reserveCapacity(Self.version.count + places.count * Self.lettersOfPlace)
        for place in places.prefix(Self.maxRooms) { append(place) }
    }

    static func key(_ room: UUID128) -> UInt64 { room.low & 0xFFFF_FFFF_FFFF }

    func place(_ room: UUID128) -> Place? {
        let key = Self.key(room)
        return places.first { $0.key == key }
    }

    subscript(room: UUID128) -> UInt64? { place(room)?.seq }

    /// The client has the room up to `seq`, or begins there anew. A room that does not fit any more is left out.
    mutating func set(_ room: UUID128, _ seq: UInt64, epoch: Int64 = 1) {
        let new = Place(room, seq, epoch: epoch)
        guard let index = places.firstIndex(where: { $0.key == new.key }) else {
            if places.count < Self.maxRooms { append(new) }
            return
        }
        let first = Self.version.count + index * Self.lettersOfPlace
        if let letters = new.letters {
            places[index] = new
            for (offset, letter) in letters.enumerated() { id[first + offset] = letter }
        } else {
            places.remove(at: index)
            id.removeSubrange(first..<(first + Self.lettersOfPlace))
        }
    }

    private mutating func append(_ place: Place) {
        guard let letters = place.letters else { return }
        places.append(place)
        id += letters
    }

    /// Removes rooms that the user has left.
    mutating func keep(only keys: Set<UInt64>) {
        guard !places.allSatisfy({ keys.contains($0.key) }) else { return }
        self = EventCursor(places: places.filter { keys.contains($0.key) })
    }

    /// Nil: the id was not made by a relay.
    init?(id text: String) {
        let text = Array(text.utf8)
        guard text.count <= Self.maxBytes, text.starts(with: Self.version),
            (text.count - Self.version.count) % Self.lettersOfPlace == 0,
            let bytes = base64URLDecoded(text[Self.version.count...])
        else { return nil }
        var keys: Set<UInt64> = []
        for first in stride(from: 0, to: bytes.count, by: Self.bytesOfPlace) {
            let place = Place(bytes[first..<(first + Self.bytesOfPlace)])
            guard keys.insert(place.key).inserted else { return nil }
            places.append(place)
        }
        id = text
    }
}

extension EventCursor: Equatable {
    static func == (one: EventCursor, other: EventCursor) -> Bool { one.id == other.id }
}
