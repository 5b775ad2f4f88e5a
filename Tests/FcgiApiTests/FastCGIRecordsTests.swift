import Testing

@testable import fcgi_api

struct FastCGIRecordsTests {
    struct Record: Equatable {
        var type: UInt8
        var request: Int
        var content: [UInt8]
    }

    /// Reads records by the specification, independently of the writer.
    static func read(_ bytes: [UInt8]) -> [Record] {
        var (records, at) = ([Record](), 0)
        while at + 8 <= bytes.count {
            let count = Int(bytes[at + 4]) << 8 | Int(bytes[at + 5])
            let content = Array(bytes[(at + 8)..<(at + 8 + count)])
            records.append(
                Record(type: bytes[at + 1], request: Int(bytes[at + 2]) << 8 | Int(bytes[at + 3]), content: content))
            at += 8 + count + Int(bytes[at + 6])
        }
        #expect(at == bytes.count)
        return records
    }

    @Test(arguments: [0, 1, 40, 65_000, 65_528, 65_535, 65_536, 200_000])
    func everyByteArrives(size: Int) {
        let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let response = Response(status: 200, type: Response.json, body: body)
        let records = Self.read(response.records(of: 0x0102))
        #expect(records.allSatisfy { $0.request == 0x0102 })
        #expect(records.filter { $0.type == 6 }.flatMap(\.content) == Array(response.head().utf8) + body)
        // The end of the stream, then of the request with status 0 and FCGI_REQUEST_COMPLETE.
        #expect(records.suffix(2).map(\.type) == [6, 3])
        #expect(records.suffix(2).map(\.content) == [[], [UInt8](repeating: 0, count: 8)])
    }
}
