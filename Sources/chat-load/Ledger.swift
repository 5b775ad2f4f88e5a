/// A run's record of its messages, from its own sockets only: it never asks the server whether something was lost.
///
/// A message has a number; its Sign is made of the run and the number, and its text begins with the Sign. So every copy
/// identifies its message, whatever else the server sends with it.
struct Ledger {
    enum Breach: String, CaseIterable {
        /// Acknowledged, and missing at a member or in the history.
        case lost
        /// The same Seq, or the same message, came twice.
        case doubled
        /// A Seq came after a later one.
        case outOfOrder = "out of order"
        /// A Seq never came, and the stream continued after it.
        case hole
        /// One Seq with two messages, or another Seq than the one that was acknowledged.
        case altered

        /// Its field in the report for programs.
        var key: String {
            switch self {
            case .lost: "Lost"
            case .doubled: "Doubled"
            case .outOfOrder: "OutOfOrder"
            case .hole: "Holes"
            case .altered: "Altered"
            }
        }
    }

    enum State: UInt8 { case waiting, sent, acknowledged, refused }

    /// A message in flight: until it is acknowledged and all members have it.
    struct Message {
        var due: Int64 = 0
        var seq: Int64 = 0
        var room: Int32 = 0
        var sender: Int32 = 0
        /// Copies that members still lack.
        var missing: Int32 = 0
        var state = State.waiting
        var isUpload = false

        var isOver: Bool { state == .refused || state == .acknowledged && missing <= 0 }
    }

    struct Room {
        let id: String
        let name: String
        var members: [Int] = []
        /// The room's last Seq before the run.
        var base: Int64
        /// By Seq after the base: the message's number plus one; the highest bit says that it was acknowledged.
        var order: [UInt32] = []
    }

    /// The memory of one message in flight; each message of the run keeps 4 bytes more, to check the history.
    static let bytesInFlight = MemoryLayout<Message>.stride
    static let acknowledgedBit: UInt32 = 1 << 31
    /// Every valid Seq in a frame or over REST: JSON has exact integers up to this limit.
    static let seqs: ClosedRange<Int64> = 1...1 << 53
    /// No room may have more Seqs than this beyond the run's own messages: a false Seq must cost neither memory nor an
    /// endless reading of the history.
    static let slack: Int64 = 100_000
    static let maxExamples = 20

    var rooms: [Room] = []
    private(set) var breaches: [Breach: Int] = [:]
    private(set) var examples: [String] = []
    private(set) var next = 0
    /// The oldest message in flight; all earlier ones are finished.
    private(set) var first = 0
    private var ring = [Message](repeating: Message(), count: 1024)
    private(set) var acknowledged = 0
    private(set) var refused = 0
    private(set) var copies = 0
    private(set) var completed = 0
    /// The most messages that were in flight at once.
    private(set) var peakInFlight = 0

    let prefix: String

    init(run: String) { prefix = "load-\(run)-" }

    var inFlight: Int { next - first }
    var isBroken: Bool { breaches.values.contains { $0 > 0 } }

    func sign(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return prefix + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    /// The number of a message of this run by its Sign.
    func number(of sign: String) -> Int? {
        guard sign.utf8.count == prefix.utf8.count + 8, sign.utf8.starts(with: prefix.utf8) else { return nil }
        return FrameScan.eightDigits(sign.utf8.suffix(8))
    }

    mutating func report(_ breach: Breach, _ text: String, times: Int = 1) {
        let sum = breaches[breach, default: 0].addingReportingOverflow(times)
        breaches[breach] = sum.overflow ? .max : sum.partialValue
        if examples.count < Self.maxExamples { examples.append("\(breach.rawValue): \(text)") }
    }

    // MARK: Messages

    /// - Returns: the message's number.
    mutating func open(room: Int, sender: Int, due: Int64, isUpload: Bool = false) -> Int {
        if next - first == ring.count { grow() }
        ring[next & (ring.count - 1)] = Message(
            due: due, room: Int32(room), sender: Int32(sender), missing: Int32(rooms[room].members.count),
            isUpload: isUpload)
        next += 1
        peakInFlight = max(peakInFlight, inFlight)
        return next - 1
    }

    private mutating func grow() {
        var wider = [Message](repeating: Message(), count: ring.count * 2)
        for number in first..<next { wider[number & (wider.count - 1)] = ring[number & (ring.count - 1)] }
        ring = wider
    }

    func message(_ number: Int) -> Message? {
        guard number >= first, number < next else { return nil }
        return ring[number & (ring.count - 1)]
    }

    mutating func change(_ number: Int, _ body: (inout Message) -> Void) {
        guard number >= first, number < next else { return }
        body(&ring[number & (ring.count - 1)])
        if ring[number & (ring.count - 1)].isOver, number == first { retire() }
    }

    private mutating func retire() {
        while first < next, ring[first & (ring.count - 1)].isOver { first += 1 }
    }

    /// Promise 1 begins here: from now on the message may not be lost.
    ///
    /// - Returns: true the first time.
    mutating func acknowledge(_ number: Int, seq: Int64) -> Bool {
        guard let message = message(number), message.state != .acknowledged else { return false }
        acknowledged += 1
        if message.missing <= 0 { completed += 1 }
        note(number, room: Int(message.room), seq: seq, isAcknowledged: true)
        change(number) { $0.state = .acknowledged }
        return true
    }

    mutating func refuse(_ number: Int) {
        guard let message = message(number), message.state != .acknowledged else { return }
        refused += 1
        change(number) { $0.state = .refused }
    }

    /// A member's copy, whose Seq is new on that member's stream.
    ///
    /// - Returns: when the message was due; nil if it does not belong to this run.
    mutating func copy(_ number: Int, room: Int, seq: Int64) -> Int64? {
        guard number < next else { return nil }
        note(number, room: room, seq: seq, isAcknowledged: false)
        guard let message = message(number), message.seq == seq, message.room == room else { return nil }
        copies += 1
        if message.missing == 1, message.state == .acknowledged { completed += 1 }
        change(number) { $0.missing -= 1 }
        return message.due
    }

    /// Records the Seq of a message, and compares it with the recorded one.
    private mutating func note(_ number: Int, room: Int, seq: Int64, isAcknowledged: Bool) {
        if let known = message(number), known.seq != 0, known.seq != seq || Int(known.room) != room {
            return report(.doubled, "\(place(room, seq)), Sign \(sign(number)) was at Seq \(known.seq) before")
        }
        if let known = message(number), Int(known.room) != room {
            return report(.altered, "\(place(room, seq)), Sign \(sign(number)) was sent to another room")
        }
        guard seq > rooms[room].base, seq <= lastPossible(room) else {
            return report(.altered, "\(place(room, seq)), Sign \(sign(number)): this Seq is impossible here")
        }
        let index = seq - rooms[room].base - 1
        while rooms[room].order.count <= Int(index) { rooms[room].order.append(0) }
        let before = rooms[room].order[Int(index)] & ~Self.acknowledgedBit
        if before == 0, message(number) == nil {
            // The message was finished: every member had it, or it was refused.
            return report(.doubled, "\(place(room, seq)), Sign \(sign(number)) was over before, at another Seq")
        }
        guard before == 0 || before == UInt32(number + 1) else {
            return report(.altered, "\(place(room, seq)) is Sign \(sign(number)) and Sign \(sign(Int(before) - 1))")
        }
        rooms[room].order[Int(index)] |= UInt32(number + 1) | (isAcknowledged ? Self.acknowledgedBit : 0)
        change(number) { $0.seq = seq }
    }

    /// The greatest Seq that a room can have by now.
    func lastPossible(_ room: Int) -> Int64 { min(rooms[room].base + Int64(next) + Self.slack, Self.seqs.upperBound) }

    func place(_ room: Int, _ seq: Int64) -> String { "room \(rooms[room].id), Seq \(seq)" }
}
