import Testing

@testable import ws_relay

@Suite struct UTF8CheckTests {
    /// Compared with the standard library's decoder.
    @Test func agreesWithTheStandardLibrary() {
        var random = SplitMix(seed: 8)
        for _ in 0..<50_000 {
            var bytes = Array("aé€𐍈\u{7FF}\u{FFFF}\u{10FFFF} plain text of some length".utf8)
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                bytes[at] = UInt8.random(in: 0x70...0xFF, using: &random)
            }
            let isValid = String(validating: bytes, as: UTF8.self) != nil
            #expect(bytes.withUnsafeBytes(UTF8Check.isValid) == isValid, "\(bytes)")
        }
    }

    @Test func refusesEveryWrongPairAndTriple() {
        for first in UInt8(0x80)...0xFF {
            for second in UInt8.min...0xFF {
                let bytes = [first, second, 0x80]
                #expect(bytes.withUnsafeBytes(UTF8Check.isValid) == (String(validating: bytes, as: UTF8.self) != nil))
            }
        }
    }
}
