import Crypto

extension RequestFields {
    /// A digest of everything that a request asks for, without its Sign: a retry has the same. Absent, null and empty
    /// fields are equal, and so is any order of the fields.
    ///
    /// - Parameter address: the operation.
    public func digest(_ address: String) -> UUID128 {
        var bytes: [UInt8] = []
        RequestFields.put(.string(address), into: &bytes)
        let entries: [WireValue.MapEntry]
        if case .map(let all) = value { entries = all } else { entries = [] }
        RequestFields.put(
            .map(entries.filter { !areSameBytes($0.key, "Sign") && !isAbsent($0.key) }), into: &bytes)
        let hash = Array(SHA256.hash(data: bytes))
        return UUID128(bytes: hash[0..<16])!
    }

    /// Each value begins with its kind and its length, so that no two values have the same bytes.
    private static func put(_ value: WireValue, into bytes: inout [UInt8]) {
        func text(_ kind: Character, _ text: String) {
            bytes += "\(kind)\(text.utf8.count):".utf8
            bytes += text.utf8
        }
        switch value {
        case .null: text("n", "")
        case .bool(let flag): text("b", "\(flag)")
        case .int(let number): text("i", "\(number)")
        case .double(let number): text("i", Int64(exactly: number).map { "\($0)" } ?? "\(number)")
        case .string(let string): text("s", string)
        case .binary(let data):
            bytes += "x\(data.count):".utf8
            bytes += data
        case .array(let values):
            bytes += "[\(values.count):".utf8
            for value in values { put(value, into: &bytes) }
        case .map(let entries):
            bytes += "{\(entries.count):".utf8
            for entry in entries.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                text("k", entry.key)
                put(entry.value, into: &bytes)
            }
        }
    }
}
