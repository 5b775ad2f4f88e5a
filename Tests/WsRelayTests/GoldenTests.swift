import ChatCore
import TestSupport
import Testing

@testable import ws_relay

/// Frames and answers that the relay itself writes, as bytes.
@Suite struct GoldenRelayTests {
    /// Frames of a socket's life: `welcome`, refusals, `resync`, the answer to `resume`. Other members' typing too.
    private func frames() throws -> [[UInt8]] {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 3, 2: 300])
        func resume(_ room: UInt64, epoch: Int64? = nil) -> WireValue {
            let place: [WireValue.MapEntry] = [
                .init("RoomID", .string(id(room).description)), .init("Seq", .int(room == 2 ? 300 : 3)),
            ]
            return .map(place + (epoch.map { [.init("Epoch", .int($0))] } ?? []))
        }
        client.ask(("Type", .string("resume")), ("Rooms", .array([])))
        client.ask(
            ("Type", .string("resume")), ("Sign", .string("s")),
            ("Rooms", .array([resume(1, epoch: 2), resume(2), resume(9)])))
        client.ask(("Type", .string("nonsense")), ("Sign", .string("s")))
        client.ask(("Type", .string("seen")), ("RoomID", .string("x")))
        client.ask(("Type", .string("typing")), ("RoomID", .string(id(1).description)))
        client.ask(("Type", .string("ping")), ("Sign", .string("p")))
        relay.run()
        client.read()
        return client.payloads.map(Self.masked) + relay.ephemerals.frames.map { $0.body.frame($0.kind) }
    }

    /// A connection's id is another one each time.
    private static func masked(_ frame: [UInt8]) -> [UInt8] {
        guard let field = frame.firstRange(of: Array("ConnectionID".utf8)) else { return frame }
        var frame = frame
        for index in field.upperBound + 2..<field.upperBound + 38 { frame[index] = UInt8(ascii: "x") }
        return frame
    }

    private var refusals: [HTTPRefusal] {
        [
            .malformed("\"why\""), .invalid(field: "wait", "is no number"), .unauthorized, .forbiddenOrigin, .notFound,
            .methodNotAllowed, .headTimedOut, .upgradeRequired, .tooMany(retryAfter: 3), .replaced, .tooManyRooms,
            .unavailable(retryAfter: 2),
        ]
    }

    @Test func framesAndAnswersStayAsTheyAre() throws {
        var lines: [Golden.Line] = try frames().enumerated().map { ("frame \($0)", Golden.hex($1)) }
        for (index, refusal) in refusals.enumerated() {
            let answer = String(decoding: refusal.answer(requestID: "r", ["X: y"]), as: UTF8.self)
            lines.append(("refusal \(index)", answer.split(whereSeparator: \.isNewline).joined(separator: " | ")))
        }
        #expect(Golden.differences(from: "relay.txt", lines) == [])
    }
}
