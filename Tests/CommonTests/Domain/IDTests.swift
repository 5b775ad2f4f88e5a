import ChatCore
import Testing

@Suite struct IDTests {
    @Test func textAndBytesRoundTrip() throws {
        let text = "018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e5f"
        let id = try #require(UUID128(text))
        #expect(id.description == text)
        #expect(UUID128(text.uppercased()) == id)
        var bytes: [UInt8] = []
        id.appendBytes(to: &bytes)
        #expect(UUID128(bytes: bytes) == id)
        var written: [UInt8] = []
        id.appendText(to: &written)
        #expect(written == Array(text.utf8))
    }

    @Test(arguments: [
        "", "018f6c2e7b3a7c4d9e5f0a1b2c3d4e5f", "018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e5",
        "018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e5g",
        "018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e5f ", "018f6c2e+7b3a-7c4d-9e5f-0a1b2c3d4e5f",
    ])
    func refusesWhatIsNoUUID(text: String) { #expect(UUID128(text) == nil) }

    @Test func version7HoldsItsTimeAndSorts() {
        var random = SplitMix(seed: 1)
        let early = UUID128.v7(unixMilliseconds: 1_700_000_000_000, using: &random)
        let late = UUID128.v7(unixMilliseconds: 1_700_000_000_001, using: &random)
        #expect(early < late)
        #expect(early.high >> 16 == 1_700_000_000_000)
        #expect(early.high >> 12 & 0xf == 7)
        #expect(early.low >> 62 == 0b10)
    }

    @Test func aPairHasOneRoom() throws {
        var random = SplitMix(seed: 2)
        let one = UUID128.v7(unixMilliseconds: 1, using: &random)
        let other = UUID128.v7(unixMilliseconds: 2, using: &random)
        let room = try #require(privateRoomID(one, other))
        #expect(privateRoomID(other, one) == room)
        #expect(room.high >> 12 & 0xf == 5)
        #expect(room.low >> 62 == 0b10)
        #expect(privateRoomID(one, one) == nil)
    }

    @Test(arguments: [
        (0 as Int64, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (1_795_383_023_123, "2026-11-22T21:30:23.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"), (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ])
    func timestamps(time: Int64, text: String) {
        var bytes: [UInt8] = []
        appendTimestamp(time, to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == text)
    }
}
