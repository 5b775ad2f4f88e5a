/// A row that versions with different layouts exchange: its fields have names. A field with a new meaning gets a new
/// name.
protocol DescribedRecord: BitwiseCopyable {
    /// A row with the default values, for fields that the sender does not know.
    static var blank: Self { get }
    static var fields: [RecordField] { get }
}

struct RecordField: Sendable {
    let name: String
    /// Bytes within the row.
    let offset: Int
    let size: Int

    init(_ name: String, offset: Int, size: Int) { (self.name, self.offset, self.size) = (name, offset, size) }

    init<Record, Value: BitwiseCopyable>(_ name: String, _ path: KeyPath<Record, Value>) {
        guard let offset = MemoryLayout<Record>.offset(of: path) else { preconditionFailure("\(name) is not stored") }
        self.init(name, offset: offset, size: MemoryLayout<Value>.size)
    }
}

extension StateWriter {
    mutating func put<Record: DescribedRecord>(records: [Record]) {
        put(UInt32(Record.fields.count))
        for field in Record.fields {
            put(field.name)
            put(UInt32(field.offset))
            put(UInt32(field.size))
        }
        put(UInt32(MemoryLayout<Record>.stride))
        put(array: records)
    }
}

extension StateReader {
    mutating func takeRecords<Record: DescribedRecord>(
        _: Record.Type = Record.self
    ) throws(StateUnreadable) -> [Record] {
        var moves: [(from: RecordField, to: RecordField)] = []
        for _ in 0..<(try take(UInt32.self)) {
            let (name, offset, size) = (try takeText(), Int(try take(UInt32.self)), Int(try take(UInt32.self)))
            guard let here = Record.fields.first(where: { $0.name == name }) else { continue }
            moves.append((RecordField(name, offset: offset, size: size), here))
        }
        let (stride, count) = (Int(try take(UInt32.self)), Int(try take(UInt32.self)))
        for (from, _) in moves where from.offset + from.size > stride {
            throw StateUnreadable(wanted: from.offset + from.size, left: stride)
        }
        let (size, isTooLarge) = stride.multipliedReportingOverflow(by: count)
        guard !isTooLarge else { throw StateUnreadable(wanted: .max, left: 0) }
        let rows = try takeBytes(size)
        return rows.withUnsafeBytes { rows in
            (0..<count).map { index in
                let row = UnsafeRawBufferPointer(rebasing: rows[index * stride..<(index + 1) * stride])
                var record = Record.blank
                withUnsafeMutableBytes(of: &record) { for (from, to) in moves { to.set(in: $0, from, of: row) } }
                return record
            }
        }
    }
}

extension RecordField {
    /// Copies a value. If the widths differ, it is an unsigned number, and a too large one becomes the largest here.
    fileprivate func set(in record: UnsafeMutableRawBufferPointer, _ from: RecordField, of row: UnsafeRawBufferPointer)
    {
        let source = UnsafeRawBufferPointer(rebasing: row[from.offset..<from.offset + from.size])
        let place = UnsafeMutableRawBufferPointer(rebasing: record[offset..<offset + size])
        if source.count == place.count { return place.copyMemory(from: source) }
        guard source.count <= 8, place.count <= 8 else { return }
        var value: UInt64 = 0
        withUnsafeMutableBytes(of: &value) { $0.copyMemory(from: source) }
        value = min(value, UInt64.max >> UInt64(64 - 8 * size))
        withUnsafeBytes(of: value) { place.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<size])) }
    }
}
