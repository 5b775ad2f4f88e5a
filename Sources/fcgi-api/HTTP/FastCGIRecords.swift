/// The bytes of an answer in the framing of the FastCGI specification (1.0, section 8).
enum FastCGIRecords {
    private static let version: UInt8 = 1
    private static let endRequest: UInt8 = 3
    private static let stdout: UInt8 = 6
    /// A record's length has 16 bits; a multiple of eight needs no padding.
    private static let maxContent = 65_528

    /// Head and body on the standard output stream, its end, and the end of the request.
    static func answer(to request: UInt16, _ response: Response) -> [UInt8] {
        let content = Array(response.head().utf8) + response.body
        var bytes: [UInt8] = []
        bytes.reserveCapacity(content.count + (content.count / maxContent + 4) * 8)
        for start in stride(from: 0, to: content.count, by: maxContent) {
            append(stdout, request, content[start..<min(start + maxContent, content.count)], to: &bytes)
        }
        append(stdout, request, [], to: &bytes)
        // Application status 0 (four bytes), FCGI_REQUEST_COMPLETE, three reserved.
        append(endRequest, request, [0, 0, 0, 0, 0, 0, 0, 0], to: &bytes)
        return bytes
    }

    private static func append(_ type: UInt8, _ request: UInt16, _ content: ArraySlice<UInt8>, to bytes: inout [UInt8])
    {
        let count = UInt16(content.count)
        bytes += [
            version, type, UInt8(request >> 8), UInt8(request & 255), UInt8(count >> 8), UInt8(count & 255), 0, 0,
        ]
        bytes += content
    }
}
