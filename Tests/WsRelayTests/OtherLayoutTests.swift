import ChatCore
import Testing

@testable import ws_relay

/// A socket's row in another build: other fields first, other widths, one that this build does not know, none for the
/// client's address.
private struct OtherRow: DescribedRecord {
    var later: UInt64 = 7
    var user: UInt64 = .max
    var issued: Int64 = 0
    var deadline: UInt64 = 0
    var serial: UInt64 = 0
    var small: UInt8 = 1
    var heard: UInt32 = 0
    var expires: UInt64 = 0
    var tokenID: UInt64 = 0
    var bucket: UInt64 = 0

    static var blank: OtherRow { OtherRow() }
    static let fields = [
        RecordField("later", \OtherRow.later), RecordField("user", \OtherRow.user),
        RecordField("issued", \OtherRow.issued),
        RecordField("deadline", \OtherRow.deadline), RecordField("serial", \OtherRow.serial),
        RecordField("small", \OtherRow.small), RecordField("heard", \OtherRow.heard),
        RecordField("expires", \OtherRow.expires), RecordField("tokenID", \OtherRow.tokenID),
        RecordField("bucket", \OtherRow.bucket),
    ]
}

/// Sockets go to a build with another layout, from there to this one, and on to a release before the described states.
@Suite struct OtherLayoutTests {
    /// The state as the other build has it: it reads ours, and writes its own rows, bits of flags, order and parts.
    private static func throughAnotherBuild(_ bytes: [UInt8]) throws -> [UInt8] {
        var state = StateReader(bytes)
        let mark = try state.take(UInt64.self)
        var parts: [(name: String, bytes: [UInt8])] = []
        for _ in 0..<(try state.take(UInt32.self)) { parts.append((try state.takeText(), try state.takeArray())) }
        var out = StateWriter()
        out.put(mark)
        out.put(UInt32(parts.count + 1))
        out.put("of a later version")
        out.put(array: [1, 2, 3] as [UInt8])
        for part in parts.reversed() {
            var reader = StateReader(part.bytes)
            var writer = StateWriter()
            switch part.name {
            case "sockets": writer.put(records: try reader.takeRecords(OtherRow.self))
            case "flags": try turnFlags(&reader, &writer)
            default: part.bytes.forEach { writer.put($0) }
            }
            out.put(part.name)
            out.put(array: writer.bytes)
        }
        return out.bytes
    }

    /// Every flag gets another bit, beyond those of this build; an unknown one is set everywhere.
    private static func turnFlags(_ reader: inout StateReader, _ writer: inout StateWriter) throws {
        let count = try reader.take(UInt32.self)
        var known: [(bit: UInt64, name: String)] = []
        for _ in 0..<count {
            let name = try reader.takeText()
            known.append((try reader.take(UInt64.self), name))
        }
        writer.put(count + 1)
        writer.put("unheardOf")
        writer.put(UInt64(1) << 15)
        for (place, flag) in known.enumerated() {
            writer.put(flag.name)
            writer.put(UInt64(1) << UInt64(40 - place))
        }
        var turned: [UInt64] = []
        for value in try reader.takeArray(UInt64.self) {
            var other = UInt64(1) << 15
            for (place, flag) in known.enumerated() where value & flag.bit != 0 {
                other |= UInt64(1) << UInt64(40 - place)
            }
            turned.append(other)
        }
        writer.put(array: turned)
    }

    @Test func socketsGoThereAndBack() throws {
        let first = try TestRelay(["WS_OUTBOX_SECONDS": "600"])
        let clients = [first.join(user: 5, rooms: [1: 3, 2: 9]), first.join(user: 6, rooms: [1: 3])]
        let slow = first.join(user: 8, rooms: [3: 0])
        let greeting = first.greet(user: 7)
        clients.forEach { _ = $0.take() }
        _ = slow.take()
        for seq in UInt64(1)...60 { first.publish(.numbered(seq, room: 3, padding: 8000), room: 3) }
        let half = HandoffTests.pingFrame("half")
        clients[0].write(Array(half[..<9]))
        first.run()
        let before = first.hub.sockets.connections[0]
        let second = try HandoffTests.handOver(first, onTheWay: Self.throughAnotherBuild)
        let third = try HandoffTests.handOver(second, onTheWay: Self.throughAnotherBuild)
        let last = try HandoffTests.handOver(third, as: .raw)
        let after = last.hub.sockets.connections[0]
        #expect(last.hub.sockets.connections.count == 4 && last.hub.users.count == 4)
        #expect(after.serial == before.serial)
        #expect(after.expires == before.expires)
        #expect(after.deadline == before.deadline)
        #expect(after.issued == before.issued)
        #expect(after.tokenID == before.tokenID)
        #expect(after.flags.intersection(.handedOver) == before.flags.intersection(.handedOver))
        for case .memberships(let user, let epoch) in last.takeLookups() {
            last.hub.handle(.memberships(of: user, epoch: epoch, []))
        }
        last.run()
        #expect(greeting.takeTypes() == ["welcome"])
        clients[0].write(Array(half[9...]))
        last.run()
        #expect(clients[0].take().map { $0["Sign"]?.string } == ["half"])
        last.publish(.numbered(4), .numbered(5, socket: before.serial, sign: "s"))
        last.publish(.numbered(10, room: 2), room: 2)
        #expect(clients[0].take().map { $0["Type"]?.string } == ["new_message", "response", "new_message"])
        #expect(clients[1].takeSeqs() == [4, 5])
        var seqs: [Int64] = []
        for _ in 0..<20 {
            seqs += slow.takeSeqs()
            last.run()
        }
        #expect(seqs == Array(1...60))
        #expect(last.join(user: 9, rooms: [:]).takeTypes() == ["welcome"])
    }

    @Test func valuesKeepTheirMeaningInOtherWidths() throws {
        var row = OtherRow()
        (row.serial, row.user, row.deadline, row.expires) = (1 << 40, .max, 77, 1 << 33)
        (row.heard, row.issued, row.tokenID, row.bucket) = (.max, -1, .max, 0x0102_0304_0506_0708)
        var state = StateWriter()
        state.put(records: [row, OtherRow()])
        var reader = StateReader(state.bytes)
        let rows = try reader.takeRecords(Connection.self)
        #expect(rows.count == 2 && reader.isAtEnd)
        #expect(rows[0].serial == 1 << 40)
        #expect(rows[0].user == noIndex)
        #expect(rows[0].deadline == 77)
        // Too large for this build's field: the largest, and not what is left of the bits.
        #expect(rows[0].expires == .max)
        #expect(rows[0].heard == .max)
        #expect(rows[0].issued == -1)
        #expect(rows[0].tokenID == .max)
        #expect(rows[0].address == 0)
        #expect(rows[1].user == noIndex && rows[1].descriptor == -1)
    }

    @Test func rowsThatCannotBeAreUnreadable() throws {
        let most = UInt32.max
        let shapes: [(UInt32, UInt32, UInt32, UInt32)] = [
            (0, 8, 4, 1), (90, 8, 96, 1), (0, most, 8, 1), (most, 8, 64, 1), (0, 8, most, most), (0, 8, 8, most),
        ]
        for (offset, size, stride, count) in shapes {
            var state = StateWriter()
            state.put(UInt32(1))
            state.put("serial")
            state.put(offset)
            state.put(size)
            state.put(stride)
            state.put(count)
            state.put(UInt64(1))
            var reader = StateReader(state.bytes)
            #expect(throws: StateUnreadable.self) { try reader.takeRecords(Connection.self) }
        }
    }
}
