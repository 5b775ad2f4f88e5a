import ChatCore

/// Where a client stands in its rooms, as the id of an event says it: what comes back in `Last-Event-ID` lets any relay go on
/// exactly there, and nothing of it is kept here.
///
/// Each room is its key, the newest Seq that the client has, and the epoch of that history. A room that the id does not
/// name is one of which nothing is known: the client is told to fetch it (`resync`). So the bound costs those with more
/// rooms a fetch, and never a frame.
struct EventCursor: Equatable, Sendable {
    /// Rooms in it: those with the latest frames. An id has to fit into a request's head.
    static let maxRooms = 256
    /// Of an id; the longest that we make has 5464.
    static let maxBytes = 5500
    /// In an id, before base64: of all rooms together.
    private static let maxPlaceBytes = 16 * maxRooms
    static let version: [UInt8] = Array("1.".utf8)
    private static let keyBytes = 6

    /// 48 bits of a room's id, all of them random. A user would need millions of rooms for two with the same.
    struct Place: Equatable, BitwiseCopyable {
        var key: UInt64
        var seq: UInt64
        var epoch: UInt64

        /// For `resume`.
        var point: (seq: Int64, epoch: Int64) { (Int64(clamping: seq), Int64(clamping: epoch)) }
    }

    /// Those that moved longest ago are first, once there are as many as may be.
    private(set) var places: [Place] = []

    init() {}

    init(places: [Place]) { self.places = Array(places.suffix(Self.maxRooms)) }

    static func key(_ room: UUID128) -> UInt64 { room.low & 0xFFFF_FFFF_FFFF }

    var isFull: Bool { places.count >= Self.maxRooms }

    func place(_ room: UUID128) -> Place? {
        let key = Self.key(room)
        return places.first { $0.key == key }
    }

    subscript(room: UUID128) -> UInt64? { place(room)?.seq }

    /// The client has the room up to `seq`, or begins there anew.
    mutating func set(_ room: UUID128, _ seq: UInt64, epoch: Int64 = 1) {
        let new = Place(key: Self.key(room), seq: seq, epoch: UInt64(clamping: epoch))
        let place = places.firstIndex { $0.key == new.key }
        if let place, !isFull {
            places[place] = new
            return
        }
        if let place { places.remove(at: place) } else if isFull { places.removeFirst() }
        places.append(new)
    }

    /// Without rooms that are not the user's any more.
    mutating func keep(only keys: Set<UInt64>) { places.removeAll { !keys.contains($0.key) } }

    // MARK: Text

    /// Nil: no id that a relay made.
    init?(id: String) {
        let text = Array(id.utf8)
        guard text.count <= Self.maxBytes, text.starts(with: Self.version),
            let bytes = base64URLDecoded(text[Self.version.count...])
        else { return nil }
        var rest = bytes[...]
        var keys: Set<UInt64> = []
        while !rest.isEmpty {
            guard rest.count > Self.keyBytes, places.count < Self.maxRooms else { return nil }
            let key = rest.prefix(Self.keyBytes).reduce(0) { $0 << 8 | UInt64($1) }
            rest = rest.dropFirst(Self.keyBytes)
            guard let seq = Self.number(&rest), let epoch = Self.number(&rest), keys.insert(key).inserted else {
                return nil
            }
            places.append(Place(key: key, seq: seq, epoch: epoch))
        }
    }

    var id: [UInt8] {
        var rooms = places[...]
        var bytes = Self.bytes(of: rooms)
        // Only with epochs beyond 127 and Seqs that no room reaches: the first rooms get a resync instead.
        while bytes.count > Self.maxPlaceBytes {
            rooms = rooms.dropFirst(8)
            bytes = Self.bytes(of: rooms)
        }
        return Self.version + base64URL(bytes)
    }

    private static func bytes(of places: ArraySlice<Place>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(places.count * (keyBytes + 5))
        for place in places {
            for shift in stride(from: 8 * (keyBytes - 1), through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: place.key >> UInt64(shift)))
            }
            put(place.seq, to: &bytes)
            put(place.epoch, to: &bytes)
        }
        return bytes
    }

    private static func put(_ number: UInt64, to bytes: inout [UInt8]) {
        var rest = number
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
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
