import ChatCore
import Testing

@Suite struct QueueHashTests {
    /// From the authors' own test suite (test_fnv.c).
    @Test(arguments: [
        ("", 0xcbf2_9ce4_8422_2325 as UInt64), ("a", 0xaf63_dc4c_8601_ec8c), ("b", 0xaf63_df4c_8601_f1a5),
        ("c", 0xaf63_de4c_8601_eff2), ("fo", 0x0898_5907_b541_d342), ("foo", 0xdcb2_7518_fed9_d577),
        ("foob", 0xdd12_0e79_0c25_12af), ("fooba", 0xcac1_65af_a2fe_f40a), ("foobar", 0x8594_4171_f739_67e8),
    ])
    func publishedVectors(text: String, hash: UInt64) {
        #expect(fnv1a64(text.utf8) == hash)
    }

    /// Fixed forever: another hash would give a room a second order.
    @Test(arguments: [
        ("00000000-0000-0000-0000-000000000000", 10, 9), ("00000000-0000-0000-0000-000000000000", 100, 89),
        ("018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e5f", 10, 8), ("018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e5f", 100, 28),
        ("6ba7b810-9dad-51d1-80b4-00c04fd430c8", 10, 0), ("6ba7b810-9dad-51d1-80b4-00c04fd430c8", 100, 80),
    ])
    func queueOfAnID(text: String, queues: Int, index: Int) throws {
        let id = try #require(UUID128(text))
        #expect(queueIndex(of: id, queues: queues) == index)
    }

    /// 100,000 UUIDs of each kind fall evenly: chi-square below the value that chance exceeds once in 10,000 times.
    @Test(arguments: [(10, 33.72), (100, 161.32)])
    func evenness(queues: Int, bound: Double) {
        var random = SplitMix(seed: 7)
        var kinds: [String: [Int]] = [
            "v7": .init(repeating: 0, count: queues), "v5": .init(repeating: 0, count: queues),
        ]
        for index in 0..<100_000 {
            let v7 = UUID128.v7(unixMilliseconds: 1_700_000_000_000 + Int64(index), using: &random)
            kinds["v7"]![queueIndex(of: v7, queues: queues)] += 1
            let other = UUID128.v7(unixMilliseconds: 1_700_000_000_000 + Int64(index), using: &random)
            kinds["v5"]![queueIndex(of: privateRoomID(v7, other)!, queues: queues)] += 1
        }
        for (kind, counts) in kinds {
            let expected = 100_000 / Double(queues)
            let chiSquare = counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
            #expect(chiSquare < bound, "\(kind) over \(queues) queues")
        }
    }
}

/// SplitMix64: a random source with a fixed seed.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
