import ChatCore

/// Where a client stands in its rooms, as the id of an event says it: what comes back in `Last-Event-ID` lets any relay go on
/// exactly there, and nothing of it is kept here.
///
/// Each room is its key and the newest Seq that the client has. A room that the id does not name is one of which nothing is
/// known: the client is told to fetch it (`resync`). So the bound costs those with more rooms a fetch, and never a frame.
struct EventCursor: Equatable, Sendable {
    /// Rooms in it: those with the latest frames. An id has to fit into a request's head.
    static let maxRooms = 256
    /// Of an id; the longest that we make has 5464.
    static let maxBytes = 5500
    private static let version: [UInt8] = Array("1.".utf8)
    private static let keyBytes = 6

    /// 48 bits of a room's id, all of them random. A user would need millions of rooms for two with the same.
    struct Place: Equatable, BitwiseCopyable {
        var key: UInt64
        var seq: UInt64
    }

    /// Those that moved longest ago are first, once there are as many as may be.
    private(set) var places: [Place] = []

    init() {}

    init(places: [Place]) { self.places = Array(places.suffix(Self.maxRooms)) }

    static func key(_ room: UUID128) -> UInt64 { room.low & 0xFFFF_FFFF_FFFF }

    var isFull: Bool { places.count >= Self.maxRooms }

    subscript(room: UUID128) -> UInt64? {
        let key = Self.key(room)
        return places.first { $0.key == key }?.seq
    }

    /// The client has the room up to `seq`, or begins there anew.
    mutating func set(_ room: UUID128, _ seq: UInt64) {
        let key = Self.key(room)
        let place = places.firstIndex { $0.key == key }
        if let place, !isFull {
            places[place].seq = seq
            return
        }
        if let place { places.remove(at: place) } else if isFull { places.removeFirst() }
        places.append(Place(key: key, seq: seq))
    }

    /// Without rooms that are not the user's any more.
    mutating func keep(only keys: Set<UInt64>) { places.removeAll { !keys.contains($0.key) } }

    // MARK: Text

    /// Nil: no id that a relay made.
    init?(id: String) {
        let text = Array(id.utf8)
        guard text.count <= Self.maxBytes, text.starts(with: Self.version),
            let bytes = Base64.decodeURL(text[Self.version.count...])
        else { return nil }
        var rest = bytes[...]
        var keys: Set<UInt64> = []
        while !rest.isEmpty {
            guard rest.count > Self.keyBytes, places.count < Self.maxRooms else { return nil }
            let key = rest.prefix(Self.keyBytes).reduce(0) { $0 << 8 | UInt64($1) }
            rest = rest.dropFirst(Self.keyBytes)
            guard let seq = Self.number(&rest), keys.insert(key).inserted else { return nil }
            places.append(Place(key: key, seq: seq))
        }
    }

    var id: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(places.count * (Self.keyBytes + 4))
        for place in places {
            for shift in stride(from: 8 * (Self.keyBytes - 1), through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: place.key >> UInt64(shift)))
            }
            var seq = place.seq
            while seq > 0x7F {
                bytes.append(UInt8(truncatingIfNeeded: seq) | 0x80)
                seq >>= 7
            }
            bytes.append(UInt8(truncatingIfNeeded: seq))
        }
        return Self.version + Base64.encodeURL(bytes)
    }

    /// Seven bits a byte, the lowest first; a Seq has 63.
    private static func number(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
        var (number, shift): (UInt64, UInt64) = (0, 0)
        while let byte = rest.popFirst() {
            guard shift < 63 else { return nil }
            number |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return number }
            shift += 7
        }
        return nil
    }
}
