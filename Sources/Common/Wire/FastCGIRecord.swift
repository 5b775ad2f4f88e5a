/// The framing of FastCGI (specification 1.0, section 3.3). The other side of nginx, and of php-fpm, is in other files.
public enum FastCGIRecord: UInt8, Sendable {
    case beginRequest = 1
    case endRequest = 3
    case parameters = 4
    case input = 5
    case output = 6
    case errors = 7

    public static let version: UInt8 = 1
    /// Bytes before a record's content.
    public static let headLength = 8
    /// A record's length has 16 bits; a multiple of eight needs no padding.
    static let maxContent = 65_528

    /// Appends one record with at most ``maxContent`` bytes.
    public func append(_ content: ArraySlice<UInt8>, request: UInt16, to bytes: inout [UInt8]) {
        let count = UInt16(content.count)
        bytes += [
            Self.version, rawValue, UInt8(request >> 8), UInt8(request & 255), UInt8(count >> 8), UInt8(count & 255), 0,
            0,
        ]
        bytes += content
    }

    /// Appends a stream in as many records as it needs, and the empty record that ends it.
    public func appendStream(_ content: [UInt8], request: UInt16, to bytes: inout [UInt8]) {
        for start in stride(from: 0, to: content.count, by: Self.maxContent) {
            append(content[start..<min(start + Self.maxContent, content.count)], request: request, to: &bytes)
        }
        append([], request: request, to: &bytes)
    }

    /// Bytes of the records of a stream of this length.
    public static func length(ofStream count: Int) -> Int { count + (count / maxContent + 2) * headLength }
}
