import Testing

@testable import ws_relay

@Suite struct FrameHeaderTests {
    @Test(
        arguments: [
            (0, [0x82, 0]), (125, [0x82, 125]), (126, [0x82, 126, 0, 126]), (65_535, [0x82, 126, 0xFF, 0xFF]),
            (65_536, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] as [(Int, [UInt8])])
    func writesTheShortestForm(payload: Int, header: [UInt8]) {
        let frame = FrameHeader.frame(.binary, Array(repeating: 0x5A, count: payload))
        #expect(Array(frame.prefix(header.count)) == header)
        #expect(frame.count == header.count + payload)
        #expect(FrameHeader.length(payload: payload) == header.count)
    }

    @Test func cutsALongReasonAtACharacter() {
        let frame = FrameHeader.close(.slowConsumer, String(repeating: "ü", count: 80))
        #expect(frame[0] == 0x88 && frame[1] == 124)
        #expect(Array(frame[2..<4]) == [0x0F, 0xA8])
        #expect(String(validating: frame[4...], as: UTF8.self) == String(repeating: "ü", count: 61))
    }

    @Test func unmasksAtEveryOffsetAndLength() {
        let key: [UInt8] = [1, 2, 4, 8]
        let native = key.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
        for count in 0..<40 {
            for offset in 0..<9 {
                var bytes = (0..<count).map { UInt8($0) ^ key[($0 + offset) % 4] }
                bytes.withUnsafeMutableBytes { Masking.unmask($0, key: native, offset: offset) }
                #expect(bytes == (0..<count).map { UInt8($0) })
            }
        }
    }
}
