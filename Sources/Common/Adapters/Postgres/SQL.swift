public import ChatCore

/// A statement and its values. Interpolated values are bound as parameters, so untrusted text never becomes SQL:
/// `"SELECT name FROM rooms WHERE id = \(room)"`.
public struct SQL: ExpressibleByStringInterpolation, Sendable {
    public private(set) var text: String
    public private(set) var values: [PGValue]

    public init(stringLiteral value: String) {
        text = value
        values = []
    }

    public init(stringInterpolation: Interpolation) {
        text = stringInterpolation.text
        values = stringInterpolation.values
    }

    /// The same statement with its plan and run-time figures, as rows of text.
    var explained: SQL {
        var copy = self
        copy.text = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) " + text
        return copy
    }

    public struct Interpolation: StringInterpolationProtocol {
        var text = ""
        var values: [PGValue] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + interpolationCount * 4)
        }

        public mutating func appendLiteral(_ literal: String) { text += literal }

        public mutating func appendInterpolation(_ value: PGValue) {
            values.append(value)
            text += "$\(values.count)"
        }

        public mutating func appendInterpolation(_ value: UUID128) { appendInterpolation(.uuid(value)) }
        public mutating func appendInterpolation(_ value: UUID128?) { appendInterpolation(.uuid(value)) }
        public mutating func appendInterpolation(_ value: Int64) { appendInterpolation(.int8(value)) }
        public mutating func appendInterpolation(_ value: String) { appendInterpolation(.text(value)) }
        public mutating func appendInterpolation(_ value: [UUID128]) { appendInterpolation(.uuids(value)) }

        /// Inserts another statement, or a part of one, with its values.
        public mutating func appendInterpolation(_ part: SQL) {
            let before = values.count
            for (place, piece) in part.text.split(separator: "$", omittingEmptySubsequences: false).enumerated() {
                let digits = place == 0 ? piece.prefix(0) : piece.prefix { $0.isASCII && $0.isNumber }
                guard let number = Int(digits) else {
                    text += (place == 0 ? "" : "$") + piece
                    continue
                }
                text += "$\(number + before)" + piece.dropFirst(digits.count)
            }
            values += part.values
        }

        /// Inserts SQL from our own code, such as a list of columns. Never untrusted text.
        public mutating func appendInterpolation(unsafeSQL sql: String) { text += sql }
    }
}

/// A parameter, sent in PostgreSQL's binary format with its type.
public enum PGValue: Sendable {
    case bool(Bool)
    case int2(Int16)
    case int4(Int32?)
    case int8(Int64?)
    case text(String?)
    case bytes([UInt8]?)
    case uuid(UUID128?)
    /// Unix milliseconds.
    case time(Int64?)
    case jsonb(String?)
    case uuids([UUID128?])
    case bools([Bool])
    case int2s([Int16])
    case int4s([Int32?])
    case int8s([Int64?])
    case texts([String?])
    case times([Int64?])
    case byteses([[UInt8]?])
    case jsonbs([String?])
    case jsons([String?])

    /// The type's oid, from pg_type.
    var oid: UInt32 {
        switch self {
        case .bool: 16
        case .bytes: 17
        case .int8: 20
        case .int2: 21
        case .int4: 23
        case .text: 25
        case .uuid: 2950
        case .time: 1184
        case .jsonb: 3802
        case .bools: 1000
        case .byteses: 1001
        case .int2s: 1005
        case .int4s: 1007
        case .int8s: 1016
        case .texts: 1009
        case .uuids: 2951
        case .times: 1185
        case .jsonbs: 3807
        case .jsons: 199
        }
    }

    /// Appends the value; false for NULL.
    func encode(into bytes: inout [UInt8]) -> Bool {
        switch self {
        case .bool(let value): bytes.append(value ? 1 : 0)
        case .int2(let value): bytes.append(network: value)
        case .int4(let value):
            guard let value else { return false }
            bytes.append(network: value)
        case .int8(let value):
            guard let value else { return false }
            bytes.append(network: value)
        case .text(let value):
            guard let value else { return false }
            bytes.append(contentsOf: value.utf8)
        case .bytes(let value):
            guard let value else { return false }
            bytes.append(contentsOf: value)
        case .uuid(let value):
            guard let value else { return false }
            value.appendBytes(to: &bytes)
        case .time(let value):
            guard let value else { return false }
            bytes.append(network: pgMicroseconds(value))
        case .jsonb(let value):
            guard let value else { return false }
            bytes.append(jsonb: value)
        case .uuids(let values): array(values, of: 2950, &bytes) { $1.appendBytes(to: &$0) }
        case .bools(let values): array(values, of: 16, &bytes) { $0.append($1 ? 1 : 0) }
        case .int2s(let values): array(values, of: 21, &bytes) { $0.append(network: $1) }
        case .int4s(let values): array(values, of: 23, &bytes) { $0.append(network: $1) }
        case .int8s(let values): array(values, of: 20, &bytes) { $0.append(network: $1) }
        case .texts(let values): array(values, of: 25, &bytes) { $0.append(contentsOf: $1.utf8) }
        case .times(let values): array(values, of: 1184, &bytes) { $0.append(network: pgMicroseconds($1)) }
        case .byteses(let values): array(values, of: 17, &bytes) { $0.append(contentsOf: $1) }
        case .jsonbs(let values): array(values, of: 3802, &bytes) { $0.append(jsonb: $1) }
        case .jsons(let values): array(values, of: 114, &bytes) { $0.append(contentsOf: $1.utf8) }
        }
        return true
    }

    /// One dimension, lower bound 1; a NULL element has length -1.
    private func array<T>(
        _ values: [T?], of oid: UInt32, _ bytes: inout [UInt8], _ write: (inout [UInt8], T) -> Void
    ) {
        bytes.append(network: Int32(values.isEmpty ? 0 : 1))
        bytes.append(network: Int32(values.contains { $0 == nil } ? 1 : 0))
        bytes.append(network: oid)
        guard !values.isEmpty else { return }
        bytes.append(network: Int32(values.count))
        bytes.append(network: Int32(1))
        for value in values {
            let start = bytes.count
            bytes.append(network: Int32(-1))
            guard let value else { continue }
            write(&bytes, value)
            let length = Int32(bytes.count - start - 4)
            withUnsafeBytes(of: length.bigEndian) { source in
                for (offset, byte) in source.enumerated() { bytes[start + offset] = byte }
            }
        }
    }
}

/// Milliseconds from 1970 to 2000, PostgreSQL's own epoch.
private let epochOffset: Int64 = 946_684_800_000

/// Times that PostgreSQL can hold, in its own microseconds: from 4713 BC to the year 294276.
private let pgTimes: ClosedRange<Int64> = -211_813_488_000_000_000...9_223_371_331_199_999_999

/// Clamps a time outside PostgreSQL's calendar to the nearest time in it. A number from outside can neither trap here
/// nor overflow to the other end.
func pgMicroseconds(_ unixMilliseconds: Int64) -> Int64 {
    let (offset, isBelow) = unixMilliseconds.subtractingReportingOverflow(epochOffset)
    let (scaled, isOutside) = offset.multipliedReportingOverflow(by: 1000)
    if isBelow || isOutside { return unixMilliseconds < 0 ? pgTimes.lowerBound : pgTimes.upperBound }
    return min(max(scaled, pgTimes.lowerBound), pgTimes.upperBound)
}

/// Rounds down to whole milliseconds, also for PostgreSQL's `infinity` and `-infinity`.
func unixMilliseconds(_ pgMicroseconds: Int64) -> Int64 {
    let (quotient, rest) = pgMicroseconds.quotientAndRemainder(dividingBy: 1000)
    return (rest < 0 ? quotient - 1 : quotient) + epochOffset
}

extension [UInt8] {
    fileprivate mutating func append(network value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    fileprivate mutating func append(jsonb value: String) {
        append(1)  // jsonb's only format version
        append(contentsOf: value.utf8)
    }
}
