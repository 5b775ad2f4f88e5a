import ChatAdapters
import ChatCore
import Testing

@testable import ws_relay

@Suite struct DeflateTests {
    private let deflate = Deflate()

    @Test func comesBackAsItWas() {
        for size in [0, 1, 127, 128, 5000, 65_535, 65_536, 200_000] {
            let payload = (0..<size).map { UInt8(truncatingIfNeeded: $0 * $0 / 7) }
            #expect(deflate.inflate(deflate.deflate(payload), most: size) == .message(payload))
        }
    }

    /// RFC 7692 7.2.3: "Hello" in one block, in two, without compression, and with a final block.
    @Test func readsTheExamplesOfTheRFC() {
        let hello = Array("Hello".utf8)
        for bytes in [
            [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
            [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ] as [[UInt8]] {
            #expect(deflate.inflate(bytes, most: 100) == .message(hello))
        }
    }

    @Test func nothingIsKeptBeyondTheLimit() {
        let bomb = deflate.deflate([UInt8](repeating: 0, count: 20_000_000))
        #expect(bomb.count < 30_000)
        #expect(deflate.inflate(bomb, most: 65_536) == .tooBig)
        #expect(deflate.inflate([0xFF, 0xFF, 0xFF], most: 100) == .damaged)
        let hello = deflate.deflate(Array("Hello".utf8))
        #expect(
            deflate.inflate(hello, most: 4) == .tooBig
                && deflate.inflate(hello, most: 5) == .message(Array("Hello".utf8)))
    }

    @Test(arguments: [
        ("permessage-deflate", true), ("permessage-deflate; client_max_window_bits", true),
        ("permessage-deflate ;client_max_window_bits= \"10\"; server_no_context_takeover", true),
        ("permessage-deflate; server_max_window_bits=15", true),
        ("permessage-deflate; server_max_window_bits=10", false),
        ("permessage-deflate; server_max_window_bits", false), ("permessage-deflate; client_max_window_bits=16", false),
        ("permessage-deflate; client_max_window_bits=08", false), ("permessage-deflate; x", false),
        ("permessage-deflate; client_no_context_takeover=1", false), ("x-webkit-deflate-frame", false),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", false),
    ])
    func offersAreJudged(offer: String, isGood: Bool) {
        #expect(DeflateOffer.isAcceptable([offer]) == isGood)
        #expect(DeflateOffer.isAcceptable(["foo", offer, "permessage-deflate"]))
    }

    /// A long frame is sent compressed, once for all receivers; a compressed request is read, also in fragments.
    @Test func theRelaySpeaksIt() throws {
        let relay = try TestRelay(["WS_DEFLATE": "on"])
        let client = relay.connect()
        client.write(
            Array(
                TestClient.head("?token=\(id(5))%201000000", ["Sec-WebSocket-Extensions: permessage-deflate"]).utf8))
        relay.run()
        relay.finishJoining(user: 5, rooms: [1: 0])
        client.read()
        #expect(
            client.head.contains("Sec-WebSocket-Extensions: \(DeflateOffer.answer)\r\n")
                || client.head.hasSuffix(DeflateOffer.answer))
        let named = DeflateOffer.answer(to: ["x", "permessage-deflate; server_max_window_bits=15"])
        #expect(named == DeflateOffer.answer + "; server_max_window_bits=15")
        #expect(DeflateOffer.answer(to: ["permessage-deflate; client_max_window_bits"]) == DeflateOffer.answer)
        #expect(DeflateOffer.answer(to: ["permessage-deflate; server_max_window_bits=14"]) == nil)
        _ = client.take()
        relay.publish(.numbered(1, padding: 2000))
        let got = client.take()
        // The welcome is long enough to be compressed.
        #expect(client.compressed == 2 && got.first?["Seq"]?.int == 1)
        let ping = TestClient.pack([
            ("Type", .string("ping")), ("Sign", .string("s")), ("X", .string("aaaaaaaaaaaaaa")),
        ])
        let small = deflate.deflate(ping)
        client.write(ClientFrame.bytes(2, small, reserved: 0x40))
        client.write(ClientFrame.bytes(2, Array(small[..<9]), final: false, reserved: 0x40))
        relay.run()
        client.write(ClientFrame.bytes(0, Array(small[9...])))
        client.write(ClientFrame.bytes(2, ping))
        relay.run()
        #expect(client.take().map { $0["Sign"]?.string } == ["s", "s", "s"])
        client.write(ClientFrame.bytes(2, deflate.deflate([UInt8](repeating: 1, count: 70_000)), reserved: 0x40))
        relay.run()
        client.read()
        #expect(client.closed?.code == 1009)
    }

    @Test func withoutAgreementTheBitIsAnError() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        client.write(ClientFrame.bytes(2, deflate.deflate([1, 2, 3]), reserved: 0x40))
        relay.run()
        client.read()
        #expect(client.closed?.code == 1002)
    }
}
