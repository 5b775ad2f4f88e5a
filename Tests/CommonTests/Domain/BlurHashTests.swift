import ChatCore
import Testing

@Suite struct BlurHashTests {
    /// One colour: its average is in the hash, and all other components are nothing.
    @Test(
        arguments: [
            ([255, 255, 255], "L0TSUA" + String(repeating: "fQ", count: 11)),
            ([0, 0, 0], "L00000" + String(repeating: "fQ", count: 11)),
        ] as [([UInt8], String)])
    func oneColour(_ colour: [UInt8], _ expected: String) {
        let pixels = [[UInt8]](repeating: colour, count: 32 * 20).flatMap { $0 }
        let text = BlurHash(pixels: pixels, width: 32, height: 20)!.text
        #expect(text.count == 28)
        #expect(text.prefix(1) == expected.prefix(1))
        #expect(text.dropFirst(2).prefix(4) == expected.dropFirst(2).prefix(4))
    }

    @Test func whatIsNoPicture() {
        #expect(BlurHash(pixels: [], width: 0, height: 0) == nil)
        #expect(BlurHash(pixels: [1, 2], width: 1, height: 1) == nil)
    }
}
